/* A parent in C: starts the pool server, gets a session, makes one request.
 *
 *     cc -o parent parent.c && ./parent SERVER APPLICATION_ROOT
 */
#include <arpa/inet.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

static void fail(const char *what) {
	perror(what);
	exit(1);
}

static void send_all(int fd, const void *data, size_t size) {
	for (size_t sent = 0; sent < size;) {
		ssize_t n = send(fd, (const char *) data + sent, size - sent, MSG_NOSIGNAL);
		if (n < 0) fail("send");
		sent += n;
	}
}

/* Never more than size bytes: reading past them would lose a descriptor that follows. */
static void receive_exactly(int fd, void *data, size_t size) {
	for (size_t got = 0; got < size;) {
		ssize_t n = read(fd, (char *) data + got, size - got);
		if (n <= 0) fail("the server closed the connection");
		got += n;
	}
}

/* One byte, with the descriptor attached to it. */
static int receive_descriptor(int fd) {
	char byte;
	union { char bytes[CMSG_SPACE(sizeof(int))]; struct cmsghdr align; } control;
	struct iovec iov = {&byte, 1};
	struct msghdr message = {.msg_iov = &iov, .msg_iovlen = 1,
		.msg_control = control.bytes, .msg_controllen = sizeof control.bytes};
	if (recvmsg(fd, &message, MSG_CMSG_CLOEXEC) != 1) fail("recvmsg");
	struct cmsghdr *header = CMSG_FIRSTHDR(&message);
	if (header == NULL || header->cmsg_type != SCM_RIGHTS) fail("no descriptor came");
	int received;
	memcpy(&received, CMSG_DATA(header), sizeof received);
	return received;
}

/* A 16-bit length, then each element followed by a NUL. */
static void send_array(int fd, const char **elements) {
	char frame[2 + 65535];
	size_t size = 2;
	for (; *elements != NULL; elements++) {
		size_t length = strlen(*elements) + 1;
		if (size + length > sizeof frame) exit(2);
		memcpy(frame + size, *elements, length);
		size += length;
	}
	uint16_t length = htons(size - 2);
	memcpy(frame, &length, 2);
	send_all(fd, frame, size);
}

int main(int argc, char **argv) {
	if (argc != 3) {
		fprintf(stderr, "usage: parent SERVER APPLICATION_ROOT\n");
		return 2;
	}
	/* The server finds the other end of this pair as its descriptor 3. */
	int wake[2];
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, wake) < 0) fail("socketpair");
	pid_t server = fork();
	if (server == 0) {
		/* dup2 of a descriptor onto itself would leave it close-on-exec */
		if (wake[1] == 3) wake[1] = dup(3);
		dup2(wake[1], 3);
		/* log level, spawn server, log file, Ruby, user, status FIFO */
		execl(argv[1], argv[1], "0", "builtin", "", "", "", "", (char *) NULL);
		perror(argv[1]);
		_exit(127);
	}
	close(wake[1]);

	/* One byte asks for one connection. */
	send_all(wake[0], "!", 1);
	int pool = receive_descriptor(wake[0]);

	/* root, lower privileges?, the user to fall back to, environment, spawn method, type */
	const char *get[] = {"get", argv[2], "false", "nobody", "production", "smart", "auto", NULL};
	send_array(pool, get);
	uint16_t length;
	char reply[65536], answer[65536];
	receive_exactly(pool, &length, 2);
	receive_exactly(pool, reply, ntohs(length));
	const char *second = reply + strlen(reply) + 1;
	if (strcmp(reply, "ok") != 0) {
		fprintf(stderr, "%s: %s\n", reply, second);
		return 1;
	}
	const char *session_id = second + strlen(second) + 1;
	printf("session %s with process %s\n", session_id, second);
	fflush(stdout);

	/* The session is a stream to that process: CGI headers, the body, the end of our side. */
	int session = receive_descriptor(pool);
	static const char headers[] = "REQUEST_METHOD\0GET\0REQUEST_URI\0/from/c\0PATH_INFO\0/from/c\0"
		"SCRIPT_NAME\0\0QUERY_STRING\0\0SERVER_NAME\0localhost\0SERVER_PORT\0" "80\0"
		"SERVER_PROTOCOL\0HTTP/1.1\0REMOTE_ADDR\0" "127.0.0.1\0HTTP_HOST\0localhost";
	uint32_t size = htonl(sizeof headers);
	send_all(session, &size, 4);
	send_all(session, headers, sizeof headers);
	shutdown(session, SHUT_WR);
	for (ssize_t n; (n = read(session, answer, sizeof answer)) > 0;)
		fwrite(answer, 1, n, stdout);

	/* Tell the pool that the session is over; end the server by letting go of its descriptor 3. */
	send_array(pool, (const char *[]) {"close", session_id, NULL});
	close(session);
	close(pool);
	close(wake[0]);
	int status;
	waitpid(server, &status, 0);
	return WIFEXITED(status) ? WEXITSTATUS(status) : 1;
}
