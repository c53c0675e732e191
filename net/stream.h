/* A byte stream over a socket: connect, accept, read, coalesced writes, close. Knows nothing of
 * frames; an encrypting layer would stand between this and conn.c. */
#ifndef PAXFS_NET_STREAM_H
#define PAXFS_NET_STREAM_H

#include "base/buf.h"
#include "net/address.h"
#include "net/hub.h"

struct stream;
struct uv_stream_s;

/* Called from the loop, never from inside a stream function. */
struct stream_ops {
	/* The connection of stream_connect() is up; bytes may follow. */
	void (*on_up)(void *ctx);

	/* Takes what it can from the front of @in. Returns the bytes taken, or the code to break
	 * the stream with. @want  in: 0; out: how many bytes the rest will be when it can be taken,
	 * at most FRAME_SIZE_MAX + 64 KiB; 0 if it is too early to tell (then fewer than 64 KiB).
	 */
	long (*on_bytes)(void *ctx, struct slice in, size_t *want);

	/* The stream failed or ended: ERR_CLOSED, ERR_TIMEOUT, what on_bytes returned...; of a
	 * connect, ERR_UNREACHABLE. Not after stream_close(). Only on_gone follows. */
	void (*on_down)(void *ctx, int err);

	void (*on_gone)(void *ctx); /* the last call; the stream's memory goes */
};

/* 0, or a code when not even an attempt could be made; then no callback comes. */
int stream_connect(struct hub *h, const struct address *to, const struct stream_ops *ops, void *ctx,
		   struct stream **out);
int stream_accept(struct hub *h, struct uv_stream_s *server, const struct stream_ops *ops,
		  void *ctx, struct stream **out);

/* The remote address, of an Internet stream; false for Unix sockets or when it is gone already. */
bool stream_remote(struct stream *s, char out[ADDRESS_SIZE_MAX]);

/* Bytes that wait to be written. */
size_t stream_queued(const struct stream *s);

/* Room for exactly @size bytes, which the caller fills at once; they leave at the end of the turn.
 * 0 or ERR_NOMEM. */
int stream_reserve(struct stream *s, size_t size, uint8_t **at);

/* Writes what it can without waiting, and closes. on_gone follows, from the loop. */
void stream_close(struct stream *s);

#endif
