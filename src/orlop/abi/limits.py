"""Every upper bound, with its unit and its reason.  Reaching one is `Exhausted` with its name."""

from typing import Final

BODY_BYTES_MAX: Final = 32 * 1024 * 1024
"""One HTTP body.  Providers stop at 20-32 MiB; images travel inside."""

JSON_DEPTH_MAX: Final = 200
"""Nesting in JSON that callers send.  Deeper is an attack, not a schema."""

MESSAGES_PER_CALL_MAX: Final = 20_000
"""Messages in one conversation; also keeps a body's part number within 16 bits."""

CALLS_PER_PROCESS_MAX: Final = 256
"""System calls that one process may have in flight."""

CALLS_IN_FLIGHT_MAX: Final = 8_192
"""System calls in flight in one kernel; parked calls (sleep, wait) count apart."""

PARKED_CALLS_MAX: Final = 100_000
"""Calls that hold no slot and may wait for days."""

PROCESSES_MAX: Final = 100_000
"""Processes that have not been reaped."""

CHILDREN_DEPTH_MAX: Final = 16
"""How deep a tree of processes may be: a fork bomb ends here."""

SCHEDULES_MAX: Final = 10_000
"""Schedules in one kernel."""

MISSED_RUNS_MAX: Final = 1_000
"""Missed runs that `--missed all` makes up for after a long sleep."""

WAITING_PER_ENGINE_MAX: Final = 4_096
"""Calls that wait for a slot of one engine; one more is refused with the time to come back."""

PROGRAMS_KNOWN_MAX: Final = 20_000
"""Programs that the scheduler remembers; the longest idle are forgotten, and start as new ones."""

PROGRAMS_SHOWN_MAX: Final = 200
"""Programs in one view of the scheduler: the most recently active."""

CONTEXTS_PER_PROGRAM_MAX: Final = 256
"""Conversations of one program whose place is remembered; the longest idle are forgotten."""

TENANTS_KNOWN_MAX: Final = 10_000
"""Tenants whose share is remembered; the longest idle are forgotten."""

TOOLS_KNOWN_MAX: Final = 512
"""Tools whose gaps are remembered."""

AGENTS_KNOWN_MAX: Final = 2_048
"""Kinds of programs whose work is remembered."""

MODELS_ESTIMATED_MAX: Final = 1_024
"""Models whose tokens per byte and per answer are remembered."""

LOOK_AHEAD: Final = 16
"""Calls that the scheduler tries, one after another, where the first do not fit an engine."""

CALL_DEADLINE_S: Final = 600.0
"""A call's deadline where it states none: what OpenAI's and Anthropic's clients wait."""

CALL_DEADLINE_S_MAX: Final = 3_600.0
"""The longest deadline of a call that is not parked."""

PARKED_S_MAX: Final = 90 * 86_400.0
"""The longest sleep or wait."""

REPLIES_UNREAD_MAX: Final = 65_536
"""Deltas buffered for one slow reader: no call makes more, so an engine never waits for one."""

OUTPUT_TOKENS_MAX: Final = 32_768
"""Output tokens where neither the caller nor the model's card says less."""

CHOICES_MAX: Final = 16
"""`n` of one model call."""

EMBED_INPUTS_MAX: Final = 2_048
"""Texts in one `embed`; as OpenAI's API."""

SCHEMA_NODES_MAX: Final = 10_000
"""Parts of one JSON schema of a tool, its references written out: small ones can mean billions."""

SCHEMA_DEPTH_MAX: Final = 100
"""How deep such a schema may be."""

SCHEMA_STEPS_MAX: Final = 20_000_000
"""To check one value; the library takes some ten million in a second."""

MCP_TOOLS_MAX: Final = 1_000
"""Tools that one MCP server may offer; a model can't choose among so many."""

MCP_PAGES_MAX: Final = 100
"""Pages that their list may have."""

MCP_TOOL_BYTES_MAX: Final = 256 * 1024
"""What one tool's description and schemas may take."""

MCP_ROUNDS_MAX: Final = 16
"""Times that a server may want to know something more before a call is done."""

MCP_UNASKED_MAX: Final = 10_000
"""Messages of an MCP server that nobody asked for, between two that somebody did."""

OPENAPI_BYTES_MAX: Final = 16 * 1024 * 1024
"""One OpenAPI document."""

OPERATIONS_MAX: Final = 2_000
"""Operations in one document; `operations` names those that are wanted."""

FOLDER_READ_BYTES_MAX: Final = 4 * 1_048_576
"""Of a file in a host's folder, in one call of its connector; more is asked for with `offset`."""

FOLDER_BYTES_MAX: Final = 256 * 1_048_576
"""Of a file that may be written to a host's folder, at most; it is held in RAM."""

FOLDER_LISTED_MAX: Final = 10_000
"""Names that one listing of a host's folder gives."""

ROWS_MAX: Final = 100_000
"""Rows of one answer of a database that may be allowed."""

MAIL_RECIPIENTS_MAX: Final = 100
"""Of one mail."""

WEBHOOK_BYTES_MAX: Final = 64 * 1024
"""A webhook that starts a program: it travels in an environment variable."""

WEBHOOKS_KNOWN_MAX: Final = 10_000
"""Ids of webhooks that are remembered, so that a second delivery starts nothing."""

SYSTEM_WAITING_MAX: Final = 4_096
"""Calls that wait for one external system."""

SYSTEM_TRIES_MAX: Final = 5
"""Times that a call is made which its system has turned away."""

MCP_ANSWER_S: Final = 20.0
"""How long an MCP server may take to introduce itself, or to list its tools."""

QUESTIONS_OPEN_MAX: Final = 10_000
"""Questions that wait for people; nobody answers more."""

QUESTIONS_KEPT_MAX: Final = 2_000
"""Closed questions that stay in the table; older ones are in the journal only."""

QUESTION_CHARS_MAX: Final = 20_000
"""Of one question to a person."""

ANSWER_CHARS_MAX: Final = 100_000
"""Of one answer."""

QUESTIONS_PER_PROCESS_MAX: Final = 1_000
"""Open questions of one process, so that none asks so much that nobody answers the others."""

ARGUMENTS_COMPARED_MAX: Final = 1_000
"""Pairs of agent and tool whose newest arguments are kept, to show what the next call changes."""

ARGUMENTS_COMPARED_BYTES_MAX: Final = 16_384
"""Of such arguments; larger ones are not compared."""

CHANGES_SHOWN_MAX: Final = 100
"""Differences between two calls' arguments that are shown."""

PREVIEW_S: Final = 20.0
"""How long it may take to say so."""

PREVIEW_CHARS_MAX: Final = 20_000
"""Of what a tool says that a call would change."""

ANSWERS_PER_BATCH_MAX: Final = 1_000
"""Questions that are answered with one order."""

PEOPLE_MAX: Final = 10_000
"""People who have spoken, or have a token."""

GRANTS_MAX: Final = 10_000
"""Grants that are open."""

GRANTS_KEPT_MAX: Final = 2_000
"""Grants that are over and stay in the table."""

GRANT_S_MAX: Final = 90 * 86_400.0
"""The longest grant."""

AUTONOMY_ROWS_MAX: Final = 10_000
"""Agents, tools and types of tasks whose autonomy is kept apart."""

AUTONOMY_MOVES_KEPT: Final = 20
"""Of one of them, the newest; older ones are in the journal only."""

AUTONOMY_WINDOW_MAX: Final = 500
"""Judgements in which drift is looked for."""

VERSIONS_KNOWN_MAX: Final = 64
"""Models, prompts, programs and tools that one agent's evidence is about."""

ESCALATION_STEPS_MAX: Final = 16
"""Steps of one chain."""

WEBHOOK_TRIES_MAX: Final = 8
"""Times that one notification is sent; the pause doubles from a second."""

WEBHOOK_ANSWER_S: Final = 10.0
"""How long its receiver may take."""

WEBHOOKS_AT_ONCE_MAX: Final = 16
"""Notifications on their way."""

WEBHOOK_AGE_S_MAX: Final = 300.0
"""How far the timestamp of a signed message may be from now."""

CASE_MESSAGES_MAX: Final = 200
"""Of a conversation that is handed over; older ones are in the journal."""

CASE_EFFECTS_MAX: Final = 500
"""Of a process that is handed over: its newest calls of tools."""

SAGAS_OPEN_MAX: Final = 10_000
"""Sagas that are neither committed nor undone; each is watched by a task."""

SAGAS_KEPT_MAX: Final = 2_000
"""Sagas that are over and stay in the table; older ones are in the journal only."""

SAGA_STEPS_MAX: Final = 200
"""Calls of tools in one saga; each is a row until the saga is forgotten."""

SAGA_TRIES_MAX: Final = 5
"""Times that a compensation is called before a person is asked."""

SAGA_RETRY_DELAY_S: Final = 1.0
"""Before the second of them; doubles with each."""

SETTLED_BYTES_MAX: Final = 1_048_576
"""Of the result that a person says a call would have had."""

FUNCTIONS_MAX: Final = 200
"""Functions that one program may offer."""

FUNCTION_CALLS_MAX: Final = 256
"""Calls of one function that may run at once."""

FUNCTION_RETURN_S: Final = 10.0
"""How long a call waits for the program whose function it is to be connected."""

FUNCTIONS_DONE_KEPT: Final = 1_000
"""Answers of a program's functions that it remembers by their keys."""

TOOL_RETRIES_MAX: Final = 10
"""Times that a tool's failed call is made again."""

TOOL_RETRY_DELAY_S: Final = 0.2
"""Before the first of them; doubles with each."""

TOOL_OUTPUT_BYTES_MAX: Final = 8 * 1024 * 1024
"""What one tool call may print."""

NAME_CHARS_MAX: Final = 128
"""Names of processes, tools, models, schedules."""

DIVERGENCE_GRACE_S: Final = 2.0
"""How long a call that is not in the record waits for concurrent calls that still are."""

KILL_GRACE_S: Final = 5.0
"""From SIGTERM to SIGKILL."""

BLOB_BYTES_MIN: Final = 64 * 1024
"""A body larger than this lies in a blob, fsynced before the event that names it."""

STOP_SEQUENCES_MAX: Final = 16
"""Stop sequences of one model call."""

PROMPTS_PER_COMPLETION_MAX: Final = 64
"""Prompts in one body of the old `/v1/completions`; each becomes a call of its own."""

ENGINE_RETRIES_MAX: Final = 2
"""Times that a driver asks a remote engine again, as OpenAI's own client does."""

ENGINE_RETRY_DELAY_S: Final = 0.5
"""Before the first retry where the engine names no time; doubles, with jitter."""

ENGINE_CONNECT_S: Final = 10.0
"""To open a connection to a remote engine."""

ERROR_BYTES_MAX: Final = 64 * 1024
"""What a driver reads of an engine's error body."""

CLIENT_PATIENCE_S: Final = 30.0
"""How long the SDK asks again while a kernel is away; a restart takes less than a second."""

JOURNAL_AWAY_S: Final = 120.0
"""How long an agent's calls wait for the database that holds the kernel's journal."""

CLIENT_PAUSE_S_MAX: Final = 0.5
"""The longest pause between two such attempts."""

CONNECT_S: Final = 5.0
"""How long the SDK tries to open one connection."""

UNHEARD_S_MAX: Final = 86_400.0
"""How long a call that waits for files or a pipe is kept while nobody asks for its answer."""

PARKED_POLL_S: Final = 30.0
"""How long one question for the answer of a parked call is held open."""

JOURNAL_QUEUE_MAX: Final = 65_536
"""Events stamped and not yet on disk; one more is refused."""

JOURNAL_COMMIT_EVENTS: Final = 512
"""Events that start a commit although nobody waits for them; also the most rows of a statement."""

JOURNAL_READ_EVENTS: Final = 2_000
"""Events read in one turn of the reading thread, so that others come between."""

RECORD_CALLS_MAX: Final = 250_000
"""Calls that a process may have made and still be resumed or replayed: some 50 MB in RAM."""

TRACE_CALLS_MAX: Final = 5_000
"""Calls in one answer of `GET …/trace`; the SDK and the shell ask on."""

JOURNAL_PROCESSES_KNOWN: Final = 200_000
"""Processes whose last number the journal keeps in RAM; the others' are looked up."""

JOURNAL_PARTS_KNOWN: Final = 100_000
"""Names of stored messages kept in RAM; the others are looked up."""

CHECKPOINT_EVENTS: Final = 1_024
"""A signed checkpoint each so many events."""

VERIFY_WHOLE_EVENTS: Final = 50_000
"""Boot verifies a journal up to this long from its first event, a longer one from a checkpoint."""

MEMORY_QUERY_WORDS_MAX: Final = 32
"""Words of a query that are looked for; more make it no clearer."""

MEMORY_TEXT_CHARS_MAX: Final = 100_000
"""Of one memory."""

MEMORY_NAME_CHARS_MAX: Final = 512
"""Of a key, a source, an identifier of a subject, a namespace."""

MEMORY_ITEMS_MAX: Final = 1_000
"""Memories written, forgotten or held in one call."""

MEMORY_ATTRIBUTES_BYTES_MAX: Final = 64 * 1024
"""Of one memory's attributes, as JSON."""

MEMORY_RECALL_MAX: Final = 1_000
"""Memories that one recall gives."""

MEMORY_RANKED_MAX: Final = 50
"""Memories that a model orders anew in one recall."""

MEMORY_NAMESPACES_MAX: Final = 256
"""Namespaces that one recall looks into, patterns written out."""

MEMORY_DIMENSIONS_MAX: Final = 16_384
"""Of one vector."""

MEMORY_SUBJECTS_MAX: Final = 32
"""Identifiers of one memory's subject."""

MEMORY_SOURCES_MAX: Final = 256
"""Sources of one memory."""

MEMORY_VERSIONS_MAX: Final = 100_000
"""Of one memory."""

MEMORY_ROLLBACK_MAX: Final = 100_000
"""Memories that one rollback changes: it is one event."""

MEMORY_TOUCHES_KEPT: Final = 10_000
"""Blocks of vectors whose last uses are remembered, also after they have left RAM."""

MEMORY_CANDIDATES_MAX: Final = 200
"""Memories that each way of searching names for the fused order, beside those asked for."""

MEMORY_SHARES_MAX: Final = 10_000
"""Shares of namespaces in one kernel, and kinds with a schema."""

PROJECTION_QUEUE_BYTES_MAX: Final = 64 * 1024 * 1024
"""Of events that wait to be folded into a projection; beyond, it reads them from the journal."""

PROJECTION_MARK_EVENTS: Final = 20_000
"""Events that a projection lets go by before it notes how far it knows the journal."""

PROJECTION_BUSY_S: Final = 5.0
"""How long a projection waits for a foreign lock on its file."""

PROJECTION_LINGER_S: Final = 0.02
"""How long a projection lets events queue that nobody wants to read yet."""

PROJECTION_RETRY_S: Final = 1.0
"""Before a projection whose file failed is opened again."""

PROJECTION_WAIT_S: Final = 10.0
"""How long a call waits for a projection that is being built; then it is told to come back."""

JOURNAL_BUSY_S: Final = 2.0
"""How long a commit waits for a foreign lock on the database."""

COMMONS_WAIT_S: Final = 15.0
"""How long a call waits to write what kernels share, or for a database that is away."""

DATABASE_CONNECT_S: Final = 10
"""How long a connection to a database server may take."""

DATABASE_STATEMENT_S: Final = 60
"""After which a database server that has not answered a statement counts as gone."""

WAL_PAGES: Final = 1_000
"""The write-ahead log is copied into the database when it is this many 4 KiB pages long."""

REDO_BYTES: Final = 128 * 1024
"""Of the redo log of a journal on SQLite, which is written round and round: some eighty commits of
one agent, or three of sixty-four."""

RESERVE_BYTES: Final = 4 * 1024 * 1024
"""Kept free for recovery after the disk was full."""

FREE_BYTES_MIN: Final = 64 * 1024 * 1024
"""With less free space than this on the journal's disk, nothing new is admitted."""

PULL_S_MAX: Final = 3_600.0
"""How long `orlop pull` waits for one wheel."""

ENGINE_START_S_MAX: Final = 300.0
"""From starting an engine host to its first answer; most of it is reading the weights."""

ENGINE_RETRY_S_MAX: Final = 60.0
"""The longest pause between two starts of an engine that fails; it doubles from one second."""

COLD_STARTS_KEPT: Final = 15
"""Loads of a model from one place whose median is its cold start: few, since disks change."""

EMBED_BATCH: Final = 32
"""Texts that the embedded embedding model computes at once: more is no faster and blocks longer."""

EMBED_DIMENSIONS_MAX: Final = 65_536
"""Numbers in one vector; the largest models give 8,192."""

TOKEN_MAX: Final = 2**31 - 1
"""The largest token id, and the largest number of output tokens that can be asked for."""

LOGPROBS_TOP_MAX: Final = 20
"""Alternatives a token, as in OpenAI's API."""

KEY_CHARS_MAX: Final = 512
"""A caller's own idempotency key; tools get it in an environment variable."""

CONNECTIONS_MAX: Final = 16_384
"""Open connections; fewer where the system allows fewer open files."""

FILES_KEPT: Final = 256
"""Open files that connections leave to the journal, to programs and to engines."""

ENGINE_HEARD_S: Final = 30.0
"""How long a call waits, after a boot, for engines that have not said yet what they run."""

PROCESSES_SHOWN_MAX: Final = 200
"""Processes in one look of `orlop top`."""

STEADY_S: Final = 60.0
"""A program that has run this long is no crash loop: its restarts are counted from none again."""

PREDICATE_CHARS_MAX: Final = 2_048
"""Characters of a claim on devices; one that a person can still read has far fewer."""

PREDICATE_DEPTH_MAX: Final = 32
"""Parentheses and negations inside one another in such a claim."""

CLAIMS_PER_PROCESS_MAX: Final = 64
"""Claims that one process may hold by its own asking."""

CLAIMS_MAX: Final = 4_096
"""Claims on devices that may be held at once."""

DEVICES_MAX: Final = 1_024
"""Devices in one kernel's table: a host has dozens, and the rest are configured by hand."""

DEVICE_LOOK_S_MAX: Final = 10.0
"""How long one look at the hardware may take; a library that hangs longer tells of nothing."""

LABELLED_MAX: Final = 10_000
"""Labelled cases in one measurement of a model's artefacts."""

ENGINE_LOOK_S: Final = 5.0
"""To answer with metrics, a load or a list; slower says nothing, and the last answer stands."""

ENGINE_METRICS_LINES_MAX: Final = 50_000
"""Lines read of an engine's page of metrics."""

ENGINE_CALLS_MAX: Final = 1_000_000
"""What an engine may say that runs or waits on it; more is not true."""

ENGINE_KV_TOKENS_MAX: Final = 10**11
"""What an engine may say that its memory holds, in tokens; more is not true."""

KV_BLOCKS_MAX: Final = 500_000
"""Blocks of one engine's memory that its events tell of; beyond them what it holds is inferred."""

KV_SOURCES_MAX: Final = 64
"""Publishers of one engine's KV events: its data-parallel ranks."""

KV_SESSIONS_MAX: Final = 20_000
"""Contexts whose blocks are known by an engine's events; the longest idle are forgotten."""

PROMPT_HELD_S_MAX: Final = 30.0
"""How long a call's prompt is not read because interactive calls run, over the whole call."""

ENGINE_PROGRAMS_KNOWN: Final = 10_000
"""Programs whose prompt a driver knows to be in a provider's cache."""

BUDGETS_MAX: Final = 1_000_000
"""Accounts in the ledger: processes in the table have one each, tasks and agents too."""

BUDGET_WAITING_MAX: Final = 64
"""Calls that wait for what others hold of one account; one more is refused with `BudgetHeld`."""

RUN_S_LEAST: Final = 60.0
"""A call that finds less left of a budget in seconds waits for what other calls give back of it,
and so does one that names no output maximum and could answer in fewer tokens than the next says."""

ANSWER_TOKENS_LEAST: Final = 1_024

RIGHTS_MAX: Final = 256
"""Rights that one process, key or token may hold."""

RIGHT_CHARS_MAX: Final = 512
"""Of one right."""

RIGHTS_READ_MAX: Final = 16_384
"""Texts of rights that are kept as read."""

RIGHTS_COMPILED_MAX: Final = 4_096
"""Different lists of rights that are kept ready to be asked."""

RIGHTS_ASKED_MAX: Final = 1_024
"""Answers that one list of rights remembers."""

REFUSALS_JOURNALED_MAX: Final = 20
"""Refusals of one process that are journaled in a minute; the next one counts those left out."""

EXPIRY_S_MAX: Final = 3.2e9
"""The longest that a key or a token may be good for: a hundred years."""

POLICY_BYTES_MAX: Final = 1024 * 1024
"""One file of a policy."""

POLICY_FILES_MAX: Final = 256
"""Files of one policy."""

POLICY_RULES_MAX: Final = 5_000
"""Rules of one policy."""

POLICY_OPERATORS_MAX: Final = 200
"""Operators, dots and brackets in one rule: parsers of deeper ones run out of stack."""

POLICY_ARGUMENTS_BYTES_MAX: Final = 256 * 1024
"""Arguments of a tool that rules are shown; where they are larger, a rule about them can't be
decided, and a `forbid` refuses."""

POLICY_REMEMBERED_CHARS_MAX: Final = 2_048
"""Facts, and names of things, that an answer is remembered for."""

POLICY_SLICES_MAX: Final = 512
"""Parts of a policy that are kept ready to be asked: one for each kind of call."""

POLICY_PLACES_MAX: Final = 16_384
"""Pairs of a process and what it acts on whose part of the policy is remembered."""

POLICY_ANSWERS_MAX: Final = 64
"""Answers that one such pair remembers, each for other facts."""

POLICY_CASES_MAX: Final = 5_000
"""Cases in one order of `orlop policy test`."""

DIFFERENCES_KEPT_MAX: Final = 200
"""Calls shown that a shadow policy, or a back-test, decides otherwise: the newest."""

COUNTERS_MAX: Final = 20_000
"""Counts of calls that are kept, by account, action and resource; the longest idle are dropped."""

LABELS_MAX: Final = 64
"""Labels of what one process has received; one more is `many`."""

LABEL_WORDS_MAX: Final = 20_000
"""Words of one labelled value; a longer one is not followed piece by piece."""

LABEL_PRINTS_MAX: Final = 50_000
"""Pieces of labelled data that one process is known by; with more, all that is new has labels."""

LABELLED_MESSAGES_MAX: Final = 20_000
"""Messages of one process whose labels are remembered; with more, likewise."""

TOOL_USES_KNOWN_MAX: Final = 512
"""Tool calls that models have asked for, of one process, the newest; an older one counts as one
that nobody has asked for."""

FILE_PATH_BYTES_MAX: Final = 4_096
"""Of one path, as in Linux."""

FILE_NAME_BYTES_MAX: Final = 255
"""Of one word of a path, as in Linux: so `orlop files sync` can write each to a disk."""

FILE_PIECE_BYTES: Final = 1_048_576
"""Content is cut into pieces of so many bytes, each stored and read by itself."""

FILE_INLINE_BYTES_MAX: Final = 8 * 1_048_576
"""Content inside one `write` or `put`; more is stored before, in pieces."""

FILE_READ_BYTES_MAX: Final = 8 * 1_048_576
"""What one `read` gives; more is asked for with `offset`."""

FILES_PER_CALL_MAX: Final = 1_000
"""Files that one `write` or `read` may name."""

FILES_AT_ONCE_MAX: Final = 10_000
"""Files that one `change` of a folder may touch; they are one event."""

FILES_LISTED_MAX: Final = 10_000
"""Lines of one listing; `after` gives the next."""

FILE_SHARES_MAX: Final = 10_000
"""Rules about folders, in one kernel; all are in RAM.  Likewise the names of snapshots."""

MOUNTS_MAX: Final = 100
"""Folders of the host that are mounted."""

FILE_INDEX_BYTES_MAX: Final = 4 * 1_048_576
"""Of a text file that is indexed; of a longer one its beginning is."""

FILE_PASSAGE_CHARS: Final = 1_000
"""About so long are the stretches that a search finds."""

FILE_SEARCH_CHARS_MAX: Final = 2_000
"""Of a question to the index."""

FILE_HITS_MAX: Final = 100
"""Passages that one search gives."""

FILE_EMBEDDED_MAX: Final = 2_000
"""Passages below a folder that a search by meaning compares; beyond, those that words find."""

CONTEXT_BYTES_MAX: Final = 32 * 1_048_576
"""Of a context that is saved as a file: as of one HTTP body."""

SUMMARY_TOKENS_MAX: Final = 512
"""Of what a model says of the messages that a compaction leaves out."""

PIPES_MAX: Final = 10_000
"""Pipes with something in them."""

PIPE_MESSAGES_MAX: Final = 1_000
"""Messages that wait in one pipe; whoever puts one more waits until one is taken."""

TOKEN_CHARS_MAX: Final = 16_384
"""Of one process's token; a header line longer than that is refused by many proxies anyway."""

TOKEN_BLOCKS_MAX: Final = 16
"""Of one token: each narrowing adds one."""

TOKENS_READ_MAX: Final = 4_096
"""Tokens that are kept as read and verified."""

TOKEN_BUDGETS_MAX: Final = 100_000
"""Narrowed tokens with a budget of their own; each has an account until it is of the past."""

TOKENS_REVOKED_MAX: Final = 100_000
"""Revoked tokens that are remembered; those that have expired are forgotten."""

SIGNING_KEYS_MAX: Final = 64
"""Keys whose tokens are accepted at once."""

TENANTS_MAX: Final = 10_000
"""Those that were removed count too: their names stay theirs."""

SECRET_BYTES_MAX: Final = 16_384
"""Of one secret in a file."""

APPROVAL_S: Final = 604_800.0
"""How long a person may take to agree to a call that no tool's card says more of."""

FETCH_BODY_BYTES_MAX: Final = 16 * 1024 * 1024
"""Of one exchange with a server outside, each way: it is recorded whole.  More goes by a tunnel."""

FETCH_CHUNKS_MAX: Final = 65_536
"""Pieces of one streamed answer whose boundaries are recorded; what follows is one more."""

URL_CHARS_MAX: Final = 16_384
"""Of an address outside; servers take half of it."""

HEADERS_BYTES_MAX: Final = 64 * 1024
"""Of one exchange, each way."""

EGRESS_CONNECTIONS_MAX: Final = 256
"""Connections through the proxy that one process may have at once."""

EGRESS_IDLE_S: Final = 300.0
"""How long such a connection may say nothing."""

EGRESS_CONNECT_S: Final = 20.0
"""To open a connection to a server outside."""

RAM_MIB_MIN: Final = 48
"""Of a sandbox that is limited as a whole: its watcher takes some 20 of them."""

CERTIFICATES_KEPT: Final = 512
"""Certificates of our own that are kept for servers outside, the most recently used."""

HELD_VALUES_MAX: Final = 10_000
"""Values held outside that the kernel keeps in RAM, so that tools can be given them."""

HELD_BYTES_MAX: Final = 64 * 1_048_576
"""Of all of them together."""
