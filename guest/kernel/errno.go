package kernel

// Error numbers, Linux include/uapi/asm-generic/errno-base.h and errno.h.
const (
	ENOENT    = 2
	ESRCH     = 3
	EBADF     = 9
	EAGAIN    = 11
	ENOMEM    = 12
	EFAULT    = 14
	EINVAL    = 22
	ENOSYS    = 38
	ETIMEDOUT = 110
)

// fail is how a call returns an error.
func fail(errno uint64) uint64 { return -errno }
