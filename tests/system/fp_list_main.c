/* Prints the list of failpoints, a line each: name, roles, trigger, what is then on disk or sent. */
#include <stdio.h>

#include "base/failpoint.h"

int main(void)
{
#define FAILPOINT_PRINT(name, roles, trigger, text)                                                \
	printf("%s\t%s\t%s\t%s\n", #name, roles, trigger, text);
	FAILPOINTS(FAILPOINT_PRINT)
#undef FAILPOINT_PRINT
	return fflush(stdout) != 0;
}
