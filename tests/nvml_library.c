/* A libnvidia-ml for machines without a GPU: two boards, the second of them cut into slices.
   What they say is set by environment variables, so that a test can age and lose them:
   BOARDS, LOST (an index), HOT (an index), ERRORS, PENDING; or by lines NAME=NUMBER of the file that
   NVML_STATE names, so that it can be done to a running kernel. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct { unsigned long long total, free, used; } memory_t;
typedef struct { unsigned gpu, memory; } rates_t;
typedef struct { unsigned counts[8]; unsigned long long mib; } slice_t;
typedef struct { unsigned pid; unsigned long long used; unsigned gi, ci; } process_t;
typedef struct { int index; int slice; } board_t;

static board_t boards[8] = {{0, -1}, {1, -1}, {2, -1}, {3, -1}};
static board_t slices[2] = {{1, 0}, {1, 1}};

static int number(const char *name, int otherwise) {
  const char *said = getenv(name), *path = getenv("NVML_STATE");
  FILE *file = path ? fopen(path, "r") : NULL;
  char line[64];
  if (said) otherwise = atoi(said);
  while (file && fgets(line, sizeof line, file))
    if (!strncmp(line, name, strlen(name)) && line[strlen(name)] == '=')
      otherwise = atoi(line + strlen(name) + 1);
  if (file) fclose(file);
  return otherwise;
}
static int is(const char *name, board_t *board) { return number(name, -1) == board->index; }
#define LIVE(board) if (is("LOST", board)) return 15

const char *nvmlErrorString(int status) { return status == 15 ? "GPU is lost" : "Not Supported"; }
int nvmlInit_v2(void) { return number("BROKEN_DRIVER", 0) ? 9 : 0; }
int nvmlShutdown(void) { return 0; }
int nvmlSystemGetDriverVersion(char *text, unsigned length) {
  snprintf(text, length, "570.86.15");
  return 0;
}
int nvmlDeviceGetCount_v2(unsigned *count) { *count = number("BOARDS", 2); return 0; }
int nvmlDeviceGetHandleByIndex_v2(unsigned index, board_t **board) {
  *board = &boards[index];
  return number("LOST", -1) == (int)index ? 15 : 0;
}
int nvmlDeviceGetName(board_t *board, char *text, unsigned length) {
  LIVE(board);
  snprintf(text, length, board->index ? "NVIDIA A100-SXM4-40GB" : "NVIDIA H200");
  return 0;
}
int nvmlDeviceGetUUID(board_t *board, char *text, unsigned length) {
  LIVE(board);
  if (board->slice < 0) snprintf(text, length, "GPU-%08d", board->index);
  else snprintf(text, length, "MIG-%08d-%d", board->index, board->slice);
  return 0;
}
int nvmlDeviceGetVbiosVersion(board_t *board, char *text, unsigned length) {
  LIVE(board);
  snprintf(text, length, "96.00.99.00.01");
  return 0;
}
int nvmlDeviceGetMemoryInfo(board_t *board, memory_t *memory) {
  LIVE(board);
  memory->total = board->slice >= 0 ? 20ull << 30 : board->index ? 40ull << 30 : 150754820096ull;
  memory->used = 1ull << 30;
  memory->free = memory->total - memory->used;
  return 0;
}
int nvmlDeviceGetUtilizationRates(board_t *board, rates_t *rates) {
  LIVE(board);
  if (board->index == 1) return 3; /* With MIG on, a board does not tell. */
  rates->gpu = 37;
  rates->memory = 11;
  return 0;
}
int nvmlDeviceGetCudaComputeCapability(board_t *board, int *major, int *minor) {
  LIVE(board);
  *major = board->index ? 8 : 9;
  *minor = 0;
  return 0;
}
int nvmlDeviceGetTemperature(board_t *board, unsigned sensor, unsigned *celsius) {
  LIVE(board);
  *celsius = is("HOT", board) ? 94 : 41;
  return sensor == 0 ? 0 : 2;
}
int nvmlDeviceGetPowerUsage(board_t *board, unsigned *milliwatts) {
  LIVE(board);
  *milliwatts = 120500;
  return 0;
}
int nvmlDeviceGetEnforcedPowerLimit(board_t *board, unsigned *milliwatts) {
  LIVE(board);
  *milliwatts = 700000;
  return 0;
}
int nvmlDeviceGetClockInfo(board_t *board, int type, unsigned *megahertz) {
  LIVE(board);
  *megahertz = type == 1 ? (is("HOT", board) ? 495 : 1980) : 3201;
  return 0;
}
int nvmlDeviceGetMaxClockInfo(board_t *board, int type, unsigned *megahertz) {
  LIVE(board);
  *megahertz = type == 1 ? 1980 : 3201;
  return 0;
}
int nvmlDeviceGetMemoryBusWidth(board_t *board, unsigned *bits) {
  LIVE(board);
  *bits = 6144;
  return board->index ? 3 : 0;
}
int nvmlDeviceGetCurrentClocksThrottleReasons(board_t *board, unsigned long long *reasons) {
  LIVE(board);
  *reasons = is("HOT", board) ? 0x40 | 0x04 : 0x01;
  return 0;
}
int nvmlDeviceGetTotalEccErrors(board_t *board, int type, int counter, unsigned long long *errors) {
  LIVE(board);
  *errors = type == 1 && board->index == 0 && counter == 0 ? number("ERRORS", 0) : 0;
  return 0;
}
int nvmlDeviceGetRemappedRows(board_t *board, unsigned *corrected, unsigned *uncorrected,
                              unsigned *pending, unsigned *failed) {
  LIVE(board);
  *corrected = *uncorrected = *failed = 0;
  *pending = is("PENDING", board);
  return 0;
}
int nvmlDeviceGetNumaNodeId(board_t *board, unsigned *node) { LIVE(board); *node = 0; return 0; }
int nvmlDeviceGetMaxPcieLinkGeneration(board_t *board, unsigned *it) { LIVE(board); *it = 5; return 0; }
int nvmlDeviceGetMaxPcieLinkWidth(board_t *board, unsigned *it) { LIVE(board); *it = 16; return 0; }
int nvmlDeviceGetNvLinkState(board_t *board, unsigned link, unsigned *is_up) {
  LIVE(board);
  *is_up = 1;
  return board->index == 0 && link < 18 ? 0 : 3;
}
int nvmlDeviceGetMigMode(board_t *board, unsigned *now, unsigned *pending) {
  LIVE(board);
  *now = *pending = board->index == 1;
  return 0;
}
int nvmlDeviceGetMaxMigDeviceCount(board_t *board, unsigned *count) { LIVE(board); *count = 7; return 0; }
int nvmlDeviceGetMigDeviceHandleByIndex(board_t *board, unsigned index, board_t **slice) {
  *slice = &slices[index % 2];
  return index < 2 ? 0 : 6;
}
int nvmlDeviceGetAttributes_v2(board_t *board, slice_t *slice) {
  LIVE(board);
  memset(slice, 0, sizeof *slice);
  slice->counts[6] = 3;
  slice->mib = 19968;
  return 0;
}
int nvmlDeviceGetComputeRunningProcesses_v3(board_t *board, unsigned *count, process_t *rows) {
  LIVE(board);
  if (*count < 1) return 7;
  *count = 1;
  rows[0].pid = 4242;
  return 0;
}
