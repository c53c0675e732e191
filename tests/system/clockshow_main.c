/* The clocks as a process sees them, in seconds: `realtime R monotonic M
 * boottime B` on one line for each line of input, so that jumps show.
 */
#include <stdio.h>
#include <time.h>

static double seconds(clockid_t id)
{
	struct timespec t;

	clock_gettime(id, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

int main(void)
{
	char line[64];

	while (fgets(line, sizeof(line), stdin)) {
		printf("realtime %.3f monotonic %.3f boottime %.3f\n", seconds(CLOCK_REALTIME),
		       seconds(CLOCK_MONOTONIC), seconds(CLOCK_BOOTTIME));
		fflush(stdout);
	}
	return 0;
}
