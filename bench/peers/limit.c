/* The limit line of the benchmarks: bare nghttp2 on one thread, a constant gRPC answer to every request.
 *
 *     limit PORT
 *
 * Nothing is parsed and nothing is looked up: what HTTP/2 and the kernel cost is all there is.
 * With nghttp2's one-shot sends: answers of one read leave in one write.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <nghttp2/nghttp2.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

enum { CONNECTIONS_MAX = 1024, READ_BYTES = 65536, WRITE_BYTES = 65536, STREAMS_MAX = 1024 };

/* WHITELISTED, OWNER, serial 5: what a check that matches is answered. */
static const uint8_t ANSWER[] = {0, 0, 0, 0, 7, 0x08, 1, 0x10, 16, 0x20, 0x85, 0x01};

typedef struct {
  int socket;
  nghttp2_session *session;
  uint8_t out[WRITE_BYTES];
  size_t begin, end;
} Connection;

#define HEADER(NAME, VALUE)                                                                        \
  {(uint8_t *)(NAME), (uint8_t *)(VALUE), sizeof(NAME) - 1, sizeof(VALUE) - 1,                     \
   NGHTTP2_NV_FLAG_NO_COPY_NAME | NGHTTP2_NV_FLAG_NO_COPY_VALUE}
static const nghttp2_nv HEADERS[] = {HEADER(":status", "200"), HEADER("content-type", "application/grpc")};
static const nghttp2_nv TRAILERS[] = {HEADER("grpc-status", "0")};

static ssize_t read_answer(nghttp2_session *session, int32_t stream, uint8_t *out, size_t room,
                           uint32_t *flags, nghttp2_data_source *source, void *user) {
  (void)source, (void)user;
  if (room < sizeof ANSWER) return NGHTTP2_ERR_CALLBACK_FAILURE;
  memcpy(out, ANSWER, sizeof ANSWER);
  *flags = NGHTTP2_DATA_FLAG_EOF | NGHTTP2_DATA_FLAG_NO_END_STREAM;
  nghttp2_submit_trailer(session, stream, TRAILERS, 1);
  return sizeof ANSWER;
}

static int on_frame(nghttp2_session *session, const nghttp2_frame *frame, void *user) {
  (void)user;
  int ends = frame->hd.type == NGHTTP2_DATA || frame->hd.type == NGHTTP2_HEADERS;
  if (!ends || !(frame->hd.flags & NGHTTP2_FLAG_END_STREAM)) return 0;
  nghttp2_data_provider answer = {.read_callback = read_answer};
  return nghttp2_submit_response(session, frame->hd.stream_id, HEADERS, 2, &answer);
}

/* Writes what the session has to send; returns 0 when the connection is to be closed. */
static int flush(Connection *connection) {
  for (;;) {
    while (connection->begin < connection->end) {
      ssize_t sent = send(connection->socket, connection->out + connection->begin,
                          connection->end - connection->begin, MSG_NOSIGNAL);
      if (sent < 0) return errno == EAGAIN || errno == EWOULDBLOCK;
      connection->begin += sent;
    }
    connection->begin = connection->end = 0;
    while (connection->end < WRITE_BYTES / 2) {
      const uint8_t *data;
      ssize_t length = nghttp2_session_mem_send(connection->session, &data);
      if (length < 0 || (size_t)length > WRITE_BYTES - connection->end) return 0;
      if (length == 0) break;
      memcpy(connection->out + connection->end, data, length);
      connection->end += length;
    }
    if (connection->end == 0)
      return nghttp2_session_want_read(connection->session) || nghttp2_session_want_write(connection->session);
  }
}

static int serve(Connection *connection, uint32_t events) {
  static uint8_t in[READ_BYTES];
  if (events & (EPOLLIN | EPOLLHUP | EPOLLERR)) {
    ssize_t got;
    do {
      got = recv(connection->socket, in, sizeof in, 0);
      if (got == 0 || (got < 0 && errno != EAGAIN)) return 0;
      if (got > 0 && nghttp2_session_mem_recv(connection->session, in, got) < 0) return 0;
    } while (got == sizeof in);
  }
  return flush(connection);
}

static Connection *accepted(int socket, nghttp2_session_callbacks *callbacks, nghttp2_option *options) {
  Connection *connection = calloc(1, sizeof *connection);
  int on = 1;
  setsockopt(socket, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  connection->socket = socket;
  nghttp2_session_server_new2(&connection->session, callbacks, connection, options);
  nghttp2_settings_entry setting = {NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS, STREAMS_MAX};
  nghttp2_submit_settings(connection->session, NGHTTP2_FLAG_NONE, &setting, 1);
  return connection;
}

int main(int argc, char **argv) {
  if (argc != 2) {
    fprintf(stderr, "usage: %s PORT\n", argv[0]);
    return 2;
  }
  signal(SIGPIPE, SIG_IGN);
  int listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0), on = 1;
  struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(atoi(argv[1])),
                                .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
  setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
  if (bind(listener, (struct sockaddr *)&address, sizeof address) || listen(listener, 1024)) {
    perror("limit");
    return 1;
  }
  nghttp2_session_callbacks *callbacks;
  nghttp2_session_callbacks_new(&callbacks);
  nghttp2_session_callbacks_set_on_frame_recv_callback(callbacks, on_frame);
  nghttp2_option *options;
  nghttp2_option_new(&options);
  int poll = epoll_create1(0);
  struct epoll_event event = {.events = EPOLLIN}, events[CONNECTIONS_MAX];
  epoll_ctl(poll, EPOLL_CTL_ADD, listener, &event);
  printf("nghttp2 %s\n", nghttp2_version(0)->version_str);
  fflush(stdout);
  for (;;) {
    int count = epoll_wait(poll, events, CONNECTIONS_MAX, -1);
    for (int each = 0; each < count; each++) {
      Connection *connection = events[each].data.ptr;
      if (!connection) {
        int socket = accept4(listener, NULL, NULL, SOCK_NONBLOCK);
        if (socket < 0) continue;
        event.events = EPOLLIN | EPOLLOUT | EPOLLET;
        event.data.ptr = connection = accepted(socket, callbacks, options);
        epoll_ctl(poll, EPOLL_CTL_ADD, socket, &event);
      } else if (!serve(connection, events[each].events)) {
        close(connection->socket);
        nghttp2_session_del(connection->session);
        free(connection);
      }
    }
  }
}
