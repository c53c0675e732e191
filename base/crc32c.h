/* CRC32C (Castagnoli, RFC 3720 appendix B.4), in hardware where the CPU has it. */
#ifndef PAXFS_BASE_CRC32C_H
#define PAXFS_BASE_CRC32C_H

#include <stddef.h>
#include <stdint.h>

/* Extends @crc (0 to begin) over @len bytes. crc32c(0, "123456789", 9) == 0xe3069283. */
uint32_t crc32c(uint32_t crc, const void *p, size_t len);

/* The table version, for tests to compare with. */
uint32_t crc32c_software(uint32_t crc, const void *p, size_t len);

#endif
