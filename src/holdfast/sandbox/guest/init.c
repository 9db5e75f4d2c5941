/* PID 1 of the sandbox's guest: an operating system that only keeps a ledger.
 *
 * Every period it appends one record to /dev/vda (O_DIRECT|O_DSYNC: acknowledged means on the disk) and only then
 * prints the same record on the serial console.  Sector 0 is a header with a hint where the records end; sector N holds
 * record N.  Before it writes, it looks at the sector before (must be its own record) and at the one it is about to
 * write (must be empty); if another boot wrote there it prints SPLITBRAIN and goes on writing, so that a second live
 * copy of a VM does real damage and cannot go unseen.  holdfast/sandbox/records.py reads what is written here. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <linux/input.h>
#include <poll.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/reboot.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#define SECTOR 512
#define CHUNK (128 * SECTOR)
#define HINT_EVERY 256
#define HEADER "HFLEDGER 1 hint="

/* In the order of their needs: a module loaded too early fails with an unknown symbol. */
static const char *const modules[] = {"virtio_ring", "virtio", "virtio_pci_legacy_dev", "virtio_pci_modern_dev",
                                      "virtio_pci", "virtio_blk", "evdev", "button", NULL};

static char name[64] = "guest", boot_id[64];
static long period_ms = 200;
static int disk = -1;
static uint64_t capacity;
static unsigned char *sectors;

static double seconds(clockid_t clock) {
  struct timespec now;
  clock_gettime(clock, &now);
  return now.tv_sec + now.tv_nsec / 1e9;
}

static void read_line(const char *path, char *text, size_t size) {
  int file = open(path, O_RDONLY);
  ssize_t got = file < 0 ? 0 : read(file, text, size - 1);
  if (file >= 0) close(file);
  text[got > 0 ? got : 0] = 0;
  text[strcspn(text, "\n")] = 0;
}

static void kernel_option(const char *cmdline, const char *key, char *text, size_t size) {
  const char *found = strstr(cmdline, key);
  if (!found) return;
  found += strlen(key);
  size_t length = strcspn(found, " ");
  if (length >= size) length = size - 1;
  memcpy(text, found, length);
  text[length] = 0;
}

static void load_modules(void) {
  char path[96];
  for (int i = 0; modules[i]; i++) {
    snprintf(path, sizeof path, "/modules/%s.ko", modules[i]);
    int file = open(path, O_RDONLY);
    if (file < 0) continue; /* built into this kernel */
    if (syscall(SYS_finit_module, file, "", 0) != 0) printf("MODULE %s errno=%d\n", modules[i], errno);
    close(file);
  }
}

static void prepare(void) {
  char cmdline[2048], text[32] = "";
  mount("proc", "/proc", "proc", 0, NULL);
  mount("sys", "/sys", "sysfs", 0, NULL);
  mount("dev", "/dev", "devtmpfs", 0, NULL);
  int console = open("/dev/console", O_RDWR);
  for (int fd = 0; console >= 0 && fd < 3; fd++) dup2(console, fd);
  setvbuf(stdout, NULL, _IOLBF, 1024);
  load_modules();
  read_line("/proc/cmdline", cmdline, sizeof cmdline);
  kernel_option(cmdline, "ha.name=", name, sizeof name);
  kernel_option(cmdline, "ha.period_ms=", text, sizeof text);
  if (atol(text) > 0) period_ms = atol(text);
  read_line("/proc/sys/kernel/random/boot_id", boot_id, sizeof boot_id);
  reboot(RB_DISABLE_CAD);
}

static int open_power_button(void) {
  char path[64], device[64];
  for (int i = 0; i < 8; i++) {
    snprintf(path, sizeof path, "/sys/class/input/event%d/device/name", i);
    read_line(path, device, sizeof device);
    if (strcmp(device, "Power Button") != 0) continue;
    snprintf(path, sizeof path, "/dev/input/event%d", i);
    return open(path, O_RDONLY | O_NONBLOCK);
  }
  return -1;
}

static int open_disk(void) {
  for (int tries = 0; tries < 200; tries++) {
    disk = open("/dev/vda", O_RDWR | O_DIRECT | O_DSYNC);
    if (disk >= 0) break;
    usleep(50000);
  }
  if (disk < 0) return -1;
  uint64_t bytes = 0;
  if (ioctl(disk, BLKGETSIZE64, &bytes) != 0 || bytes < 2 * SECTOR) return -1;
  capacity = bytes / SECTOR - 1;
  return 0;
}

/* The sequence number of the record in this sector, 0 when there is none. */
static uint64_t record_number(const unsigned char *sector, char *boot, size_t size) {
  unsigned long long number = 0;
  char text[SECTOR + 1];
  memcpy(text, sector, SECTOR);
  text[SECTOR] = 0;
  if (sscanf(text, "REC seq=%llu ", &number) != 1) return 0;
  boot[0] = 0;
  char *found = strstr(text, " boot=");
  if (found) {
    found += strlen(" boot=");
    found[strcspn(found, " ")] = 0;
    snprintf(boot, size, "%s", found);
  }
  return number;
}

static uint64_t header_hint(void) {
  unsigned long long hint = 0;
  if (pread(disk, sectors, SECTOR, 0) != SECTOR) return 0;
  sectors[SECTOR - 1] = 0;
  if (strncmp((char *)sectors, HEADER, strlen(HEADER)) == 0) sscanf((char *)sectors + strlen(HEADER), "%llu", &hint);
  return hint < capacity ? hint : 0;
}

static void write_hint(uint64_t last) {
  memset(sectors, 0, SECTOR);
  snprintf((char *)sectors, SECTOR, HEADER "%llu\n", (unsigned long long)last);
  if (pwrite(disk, sectors, SECTOR, 0) != SECTOR) printf("ERROR header errno=%d\n", errno);
}

/* The last record on the disk: from the hint forward, until a sector holds no record. */
static uint64_t find_last(char *boot, size_t size) {
  uint64_t last = header_hint(), at = last ? last : 1;
  while (at <= capacity) {
    size_t want = (capacity - at + 1) * SECTOR < CHUNK ? (capacity - at + 1) * SECTOR : CHUNK;
    ssize_t got = pread(disk, sectors, want, at * SECTOR);
    if (got < SECTOR) break;
    for (ssize_t i = 0; i + SECTOR <= got; i += SECTOR, at++) {
      char writer[64];
      if (record_number(sectors + i, writer, sizeof writer) != at) return last;
      last = at;
      snprintf(boot, size, "%s", writer);
    }
  }
  return last;
}

static void look_for_others(uint64_t last, int mine) {
  char boot[64];
  if (pread(disk, sectors, 2 * SECTOR, last * SECTOR) != 2 * SECTOR) return;
  for (int i = 0; i < 2; i++) {
    uint64_t number = record_number(sectors + i * SECTOR, boot, sizeof boot);
    int foreign = number && strcmp(boot, boot_id) != 0;
    if (foreign && (i == 1 || mine))
      printf("SPLITBRAIN name=%s boot=%s saw seq=%llu boot=%s\n", name, boot_id, (unsigned long long)number, boot);
  }
}

static uint32_t checksum(const char *text) {
  uint32_t hash = 2166136261u; /* FNV-1a */
  for (; *text; text++) hash = (hash ^ (unsigned char)*text) * 16777619u;
  return hash;
}

/* Appends record `number`; 0 when the disk acknowledged it. */
static int append(uint64_t number) {
  char body[300];
  snprintf(body, sizeof body, "seq=%llu t=%.3f up=%.3f boot=%s name=%s", (unsigned long long)number,
           seconds(CLOCK_REALTIME), seconds(CLOCK_BOOTTIME), boot_id, name);
  memset(sectors, 0, SECTOR);
  snprintf((char *)sectors, SECTOR, "REC %s #%08x\n", body, checksum(body));
  if (pwrite(disk, sectors, SECTOR, number * SECTOR) != SECTOR) {
    printf("ERROR seq=%llu boot=%s errno=%d\n", (unsigned long long)number, boot_id, errno);
    return -1;
  }
  printf("ACK %s #%08x\n", body, checksum(body));
  return 0;
}

static void power_off(uint64_t last) {
  printf("DOWN name=%s boot=%s last=%llu why=acpi\n", name, boot_id, (unsigned long long)last);
  fflush(stdout);
  sync();
  usleep(50000);
  reboot(RB_POWER_OFF);
}

static int power_button_pressed(int button, int wait_ms) {
  struct pollfd ready = {button, POLLIN, 0};
  struct input_event event;
  if (poll(&ready, 1, wait_ms) <= 0 || !(ready.revents & POLLIN)) return 0;
  while (read(button, &event, sizeof event) == sizeof event)
    if (event.type == EV_KEY && event.code == KEY_POWER && event.value == 1) return 1;
  return 0;
}

static void keep_ledger(uint64_t last) {
  int button = -1, mine = 0;
  double next = seconds(CLOCK_MONOTONIC);
  for (;;) {
    if (button < 0) button = open_power_button();
    if (last < capacity) {
      look_for_others(last, mine);
      if (append(last + 1) == 0) {
        last++;
        mine = 1;
        if (last % HINT_EVERY == 0) write_hint(last);
        if (last == capacity) printf("FULL name=%s boot=%s last=%llu\n", name, boot_id, (unsigned long long)last);
      }
    }
    next += period_ms / 1000.0;
    double now = seconds(CLOCK_MONOTONIC);
    if (next < now) next = now; /* after a hang: go on, do not make up for it */
    while ((now = seconds(CLOCK_MONOTONIC)) < next)
      if (power_button_pressed(button, (int)((next - now) * 1000) + 1)) power_off(last);
  }
}

int main(void) {
  char boot[64] = "-";
  prepare();
  if (posix_memalign((void **)&sectors, 4096, CHUNK) != 0 || open_disk() != 0) {
    printf("NODISK name=%s boot=%s errno=%d\n", name, boot_id, errno);
    fflush(stdout);
    for (;;) pause();
  }
  uint64_t last = find_last(boot, sizeof boot);
  /* The line before may have been cut short by a power failure: begin a new one. */
  printf("\nUP name=%s boot=%s last=%llu last_boot=%s capacity=%llu\n", name, boot_id, (unsigned long long)last, boot,
         (unsigned long long)capacity);
  keep_ledger(last);
}
