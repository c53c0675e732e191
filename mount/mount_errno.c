/* From codes of base/err.h to errno: the only place. */
#include <errno.h>

#include "base/err.h"
#include "mount/mount_internal.h"

int mount__errno(int err)
{
	switch (err) {
	case 0: return 0;
	case ERR_NOMEM: return ENOMEM;
	case ERR_INVAL: return EINVAL;
	case ERR_BUSY:
	case ERR_WOULD_BLOCK: return EAGAIN;
	case ERR_TIMEOUT: return EIO; /* -o timeout: what NFS's soft mounts answer, too */
	case ERR_CANCELED:
	case ERR_INTERRUPTED: return EINTR;
	case ERR_TOO_BIG: return E2BIG;
	case ERR_UNSUPPORTED: return EOPNOTSUPP;
	case ERR_NOSPACE: return ENOSPC;
	case ERR_NOT_FOUND: return ENOENT;
	case ERR_EXISTS: return EEXIST;
	case ERR_NOT_DIR: return ENOTDIR;
	case ERR_IS_DIR: return EISDIR;
	case ERR_NOT_EMPTY: return ENOTEMPTY;
	case ERR_NAME_TOO_LONG: return ENAMETOOLONG;
	case ERR_STALE: return ESTALE;
	case ERR_ACCESS: return EACCES;
	case ERR_PERM: return EPERM;
	case ERR_LOOP: return ELOOP;
	case ERR_FILE_TOO_BIG: return EFBIG;
	case ERR_TOO_MANY_LINKS: return EMLINK;
	case ERR_NO_DATA: return ENODATA;
	case ERR_RANGE: return ERANGE;
	case ERR_BAD_HANDLE: return EBADF;
	case ERR_READ_ONLY: return EROFS;
	default: return EIO;
	}
}
