# Runs the statements of each line of input, a JSON string, and answers with one line.
import ctypes, errno, fcntl, json, mmap, os, socket, stat, sys, time

mnt = sys.argv[1]
errno.errorcode[errno.EOPNOTSUPP] = "EOPNOTSUPP"  # which is ENOTSUP on Linux
libc = ctypes.CDLL(None, use_errno=True)
NOREPLACE, EXCHANGE, WHITEOUT = 1, 2, 4


def check(value):
    """Fails like a system call that returned a negative value."""
    if value < 0:
        raise OSError(ctypes.get_errno(), "")
    return value


def renameat2(old, new, flags):
    at = -100  # AT_FDCWD
    check(libc.renameat2(at, os.fsencode(old), at, os.fsencode(new), flags))


def create(path, content=b"bytes"):
    """Makes a file and leaves it open."""
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o644)
    os.write(fd, content)
    return fd


def store(path, content=b"bytes"):
    """Makes a file and closes it."""
    os.close(create(path, content))


def read(path):
    with open(path, "rb") as file:
        return file.read()


def fails(expected, function, *arguments):
    """Whether a call fails with this error."""
    try:
        function(*arguments)
    except OSError as error:
        return error.errno == expected
    return False


def all_fail(*calls):
    """Raises the error of all these calls, which must be the same."""
    errors = []
    for call in calls:
        try:
            call()
            errors.append(None)
        except OSError as error:
            errors.append(error)
    numbers = {error and error.errno for error in errors}
    assert len(numbers) == 1, f"they differ: {errors}"
    if errors[0]:
        raise errors[0]


def sealed(path):
    return os.getxattr(path, "user.littfs.sealed") == b"true"


for line in sys.stdin:
    try:
        exec(json.loads(line))
        answer = "yes"
    except OSError as error:
        answer = errno.errorcode.get(error.errno, str(error))
    except BaseException as error:
        answer = f"{type(error).__name__}: {error}".replace("\n", " ")
    print(answer, flush=True)
