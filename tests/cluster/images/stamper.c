/* Writes down, in the file that it is given, when SIGHUP came: for each the nanoseconds since boot, in 8 bytes. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdint.h>
#include <time.h>
#include <unistd.h>

static int stamps;

static void stamp(int signal)
{
	struct timespec now;
	clock_gettime(CLOCK_BOOTTIME, &now);
	int error = errno;
	int64_t nanoseconds = now.tv_sec * INT64_C(1000000000) + now.tv_nsec;
	(void)signal;
	if (write(stamps, &nanoseconds, sizeof(nanoseconds)) != sizeof(nanoseconds))
		_exit(1);
	errno = error;
}

static void end(int signal) { (void)signal; _exit(0); }

int main(int argc, char **argv)
{
	if (argc != 2 || (stamps = open(argv[1], O_WRONLY | O_CREAT | O_APPEND, 0644)) < 0)
		return 2;
	sigaction(SIGTERM, &(struct sigaction){.sa_handler = end}, NULL);
	sigaction(SIGHUP, &(struct sigaction){.sa_handler = stamp}, NULL);
	for (;;)
		pause();
}
