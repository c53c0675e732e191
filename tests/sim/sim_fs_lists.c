/* The model's access lists: values as the kernel passes them, with the few shapes that calls here
 * use.
 *
 *     short: owner, group, other
 *     long:  owner, user 7, group, mask, other
 *
 * The second, or third, and the last entry stand for the mode's digits. */
#include "base/bytes.h"
#include "base/mem.h"
#include "tests/sim/sim_fs_internal.h"

#define SHORT 28u
#define LONG  44u

static uint8_t *entry(uint8_t *p, unsigned tag, unsigned perm, uint32_t id)
{
	le16_put(p, (uint16_t)tag);
	le16_put(p + 2, (uint16_t)(perm & 7));
	le32_put(p + 4, id);
	return p + 8;
}

struct slice fsim__list(uint32_t mode, bool full, unsigned named)
{
	uint8_t *b = mem_must_alloc(LONG), *p = b + 4;

	le32_put(b, 2);
	p = entry(p, 1, mode >> 6, UINT32_MAX);
	if (full)
		p = entry(p, 2, named, 7);
	p = entry(p, 4, full ? named >> 3 : mode >> 3, UINT32_MAX);
	if (full)
		p = entry(p, 16, mode >> 3, UINT32_MAX);
	p = entry(p, 32, mode, UINT32_MAX);
	return slice_of(b, (size_t)(p - b));
}

bool fsim__list_is_full(struct slice list)
{
	return list.len == LONG;
}

static const unsigned *digits_at(struct slice list)
{
	static const unsigned in_short[] = {6, 14, 22}, in_full[] = {6, 30, 38};

	return fsim__list_is_full(list) ? in_full : in_short;
}

uint32_t fsim__list_mode(struct slice list)
{
	const unsigned *at = digits_at(list);

	return (uint32_t)(list.p[at[0]] << 6 | list.p[at[1]] << 3 | list.p[at[2]]);
}

struct slice fsim__list_with(struct slice list, uint32_t mode)
{
	const unsigned *at = digits_at(list);
	uint8_t *b = mem_must_dup(list.p, list.len);

	for (unsigned i = 0; i < 3; i++)
		b[at[i]] = (uint8_t)(mode >> (6 - 3 * i) & 7);
	return slice_of(b, list.len);
}
