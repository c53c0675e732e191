/* Intrusive lists (from <bsd/sys/queue.h>) and container_of. */
#ifndef PAXFS_BASE_LIST_H
#define PAXFS_BASE_LIST_H

#include <stddef.h>
#include <bsd/sys/queue.h>

#define container_of(ptr, type, member) ((type *)(void *)((char *)(ptr) - offsetof(type, member)))

#endif
