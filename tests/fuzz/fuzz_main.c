/* Replays files through one fuzz target: `NAME_fuzz FILE...`. The last line is `N passed, N failed`; an
 * input that fails ends the process, so its name is printed before it runs when FUZZ_VERBOSE is set, and
 * on the way down by the sanitizer's report or CHECK's line. */
#include <stdio.h>
#include <stdlib.h>

#include "tests/fuzz/fuzz.h"

#define INPUT_SIZE_MAX (1u << 20)

static const char *running;

/* Called by the sanitizers and at abort(): which input it was. */
static void tell(void)
{
	if (running)
		fprintf(stderr, "fuzz: failed on %s\n", running);
}

const char *__asan_default_options(void);
const char *__asan_default_options(void)
{
	return "handle_abort=1:detect_leaks=1:max_allocation_size_mb=256:allocator_may_return_null=1";
}

void __asan_on_error(void);
void __asan_on_error(void)
{
	tell();
}

static int replay(const char *path)
{
	FILE *f = fopen(path, "rb");
	uint8_t *data;
	size_t len;

	if (!f) {
		perror(path);
		return 1;
	}
	data = malloc(INPUT_SIZE_MAX);
	if (!data)
		abort();
	len = fread(data, 1, INPUT_SIZE_MAX, f);
	fclose(f);
	{
		uint8_t *exact = fuzz_exact(slice_of(data, len));

		free(data);
		running = path;
		(void)LLVMFuzzerTestOneInput(exact, len);
		running = NULL;
		mem_free(exact);
	}
	return 0;
}

int main(int argc, char **argv)
{
	int failed = 0;

	LLVMFuzzerInitialize(&argc, &argv);
	for (int i = 1; i < argc; i++) {
		if (getenv("FUZZ_VERBOSE"))
			fprintf(stderr, "%s\n", argv[i]);
		failed += replay(argv[i]);
	}
	printf("%d passed, %d failed\n", argc - 1 - failed, failed);
	return failed != 0;
}
