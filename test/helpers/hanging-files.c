/*
 * A file system that shows a directory and hangs on demand, as one whose server has gone:
 * while the file `control` is there, no call is answered.
 *
 * With the last two it is one that a user has mounted, and that says of all its files that they
 * belong to another.
 *
 * Usage: hanging-files SOURCE CONTROL MOUNTPOINT [MOUNTER OWNER]
 */
#define FUSE_USE_VERSION 31
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <fuse.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

static const char *source;
static const char *control;
static const char *owner;

static char *real(char *room, const char *path) {
  while (access(control, F_OK) == 0) usleep(5000);
  snprintf(room, 8192, "%s%s", source, path);
  return room;
}

static int result(int value) { return value < 0 ? -errno : 0; }

static int do_getattr(const char *path, struct stat *facts, struct fuse_file_info *file) {
  char room[8192];
  (void)file;
  if (lstat(real(room, path), facts) < 0) return -errno;
  if (owner != NULL) facts->st_uid = facts->st_gid = atoi(owner);
  return 0;
}

static int do_readlink(const char *path, char *target, size_t size) {
  char room[8192];
  ssize_t length = readlink(real(room, path), target, size - 1);
  if (length < 0) return -errno;
  target[length] = 0;
  return 0;
}

static int do_readdir(const char *path, void *entries, fuse_fill_dir_t fill, off_t offset,
                      struct fuse_file_info *file, enum fuse_readdir_flags flags) {
  char room[8192];
  DIR *directory = opendir(real(room, path));
  struct dirent *entry;
  (void)offset, (void)file, (void)flags;
  if (directory == NULL) return -errno;
  while ((entry = readdir(directory)) != NULL) fill(entries, entry->d_name, NULL, 0, 0);
  closedir(directory);
  return 0;
}

static int do_open(const char *path, struct fuse_file_info *file) {
  char room[8192];
  int fd = open(real(room, path), file->flags & ~O_NOFOLLOW);
  if (fd < 0) return -errno;
  file->fh = fd;
  return 0;
}

static int do_read(const char *path, char *room, size_t size, off_t at,
                   struct fuse_file_info *file) {
  char name[8192];
  ssize_t length = (real(name, path), pread(file->fh, room, size, at));
  return length < 0 ? -errno : length;
}

static int do_write(const char *path, const char *data, size_t size, off_t at,
                    struct fuse_file_info *file) {
  char name[8192];
  ssize_t length = (real(name, path), pwrite(file->fh, data, size, at));
  return length < 0 ? -errno : length;
}

static int do_release(const char *path, struct fuse_file_info *file) {
  (void)path;
  close(file->fh);
  return 0;
}

static int do_unlink(const char *path) {
  char room[8192];
  return result(unlink(real(room, path)));
}

static void *do_init(struct fuse_conn_info *connection, struct fuse_config *config) {
  (void)connection;
  config->entry_timeout = config->attr_timeout = config->negative_timeout = 0;
  config->use_ino = 1;
  return NULL;
}

static const struct fuse_operations operations = {
    .init = do_init, .getattr = do_getattr, .readlink = do_readlink, .readdir = do_readdir,
    .open = do_open, .read = do_read, .write = do_write, .release = do_release,
    .unlink = do_unlink,
};

/* As fusermount3 does it for a user: libfuse takes over the descriptor. */
static int mount_for(const char *mounter, const char *directory, char *place) {
  char options[200];
  int fd = open("/dev/fuse", O_RDWR);
  snprintf(place, 40, "/dev/fd/%d", fd);
  snprintf(options, sizeof options,
           "fd=%d,rootmode=40000,user_id=%s,group_id=%s,allow_other,default_permissions", fd,
           mounter, mounter);
  /* He chooses this name, and root is not who has mounted it. */
  return mount("user_id=0", directory, "fuse.files", MS_NOSUID | MS_NODEV, options);
}

int main(int count, char **arguments) {
  char *fuse[] = {arguments[0], arguments[3], "-f", "-o", "allow_other,default_permissions", NULL};
  char place[40];
  if (count != 4 && count != 6) return 2;
  if (count == 6) {
    if (mount_for(arguments[4], arguments[3], place) < 0) return 1;
    owner = arguments[5];
    fuse[1] = place;
    fuse[3] = NULL;
  }
  source = arguments[1];
  control = arguments[2];
  return fuse_main(count == 6 ? 3 : 5, fuse, &operations, NULL);
}
