"""Policies to begin with: `orlop policy template NAME` prints them, ready to be changed."""

from collections.abc import Mapping
from typing import Final

from orlop.abi.policy import Files

OPEN: Final = """\
// Everything is permitted.  Add `forbid` rules for what is not.
@id("open")
permit(principal, action, resource);
"""

PRIVILEGE_GROUPS: Final = """\
// Privilege groups, as the AIOS paper's access manager has them (arXiv 2403.16971, section 3.8): an
// agent may touch what belongs to an agent that has a group in common with it, and nothing of
// others.  What acts on the world for good needs a person's word.  Who is in which group is in
// groups.toml.

@id("models")
permit(principal, action in [Action::"infer", Action::"embed"], resource);

@id("tools")
permit(principal, action == Action::"call_tool", resource);

@id("children")
permit(principal, action == Action::"spawn", resource);

@id("people")
permit(principal, action == Action::"ask", resource);

@id("own-memory")
permit(
  principal,
  action in [Action::"remember", Action::"recall", Action::"forget"],
  resource
) when { resource.owner == principal.name || principal.groups.containsAny(resource.groups) };

@id("own-files")
permit(
  principal,
  action in [Action::"read", Action::"write", Action::"list", Action::"pipe", Action::"share"],
  resource
) when { resource.owner == principal.name || principal.groups.containsAny(resource.groups) };

@id("own-processes")
permit(principal, action == Action::"signal", resource)
when { resource.name == principal.name || principal.groups.containsAny(resource.groups) };

@id("for-good")
@ask("it can't be undone")
forbid(principal, action == Action::"call_tool", resource)
when { resource.effect == "irreversible" };
"""

GROUPS: Final = """\
# Who is in which group: agents, teams, tools, models, memory, files, hosts and people, by name or
# with `*` for any characters.
[groups]
office = ["agent:clerk-*", "team:office", "memory:office*", "file:/office/*"]
"""

TAINT: Final = """\
// What strangers have written must not move anything that can't be taken back.  Labels come from
// `trust = "untrusted"` and `labels` of tools; `local` is what an agent's own tools have said.

@id("open")
permit(principal, action, resource);

@id("strangers-words")
@reason("the call was made from data that strangers may have written")
forbid(principal, action == Action::"call_tool", resource)
when {
  context.taint.contains("untrusted") && ["irreversible", "compensable"].contains(resource.effect)
};

@id("strangers-words-out")
@ask("data that strangers may have written would be sent on")
forbid(principal, action == Action::"net", resource)
when { context.taint.contains("untrusted") && context.method != "GET" };

@id("strangers-words-children")
@reason("a program that strangers may have chosen is not started")
forbid(principal, action == Action::"spawn", resource)
when { context.taint.contains("untrusted") };
"""

LIMITS: Final = """\
// Rates, hours and money beside the budgets: examples to change.

@id("open")
permit(principal, action, resource);

@id("few-for-good")
@reason("at most 20 calls an hour of a tool that can't be undone, by one agent")
forbid(principal, action == Action::"call_tool", resource)
when { resource.effect == "irreversible" && context.calls.agent.hour >= 20 };

@id("office-hours")
@ask("it is outside of office hours")
forbid(principal, action == Action::"call_tool", resource)
when {
  resource.effect == "irreversible" &&
  (context.time.weekday > 5 || context.time.hour < 8 || context.time.hour >= 18)
};

@id("dear-models")
@reason("the task has spent ten dollars; take a model that costs nothing")
forbid(principal, action == Action::"infer", resource)
when {
  resource.paid &&
  context.spend.task.nano_dollars + context.spend.task.held_nano_dollars >= 10000000000
};
"""

TEMPLATES: Final[Mapping[str, Files]] = {
    "open": {"open.cedar": OPEN},
    "privilege-groups": {"privilege-groups.cedar": PRIVILEGE_GROUPS, "groups.toml": GROUPS},
    "taint": {"taint.cedar": TAINT},
    "limits": {"limits.cedar": LIMITS},
}
