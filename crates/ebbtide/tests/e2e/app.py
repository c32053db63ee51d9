"""A web application as people write them: threads, and logins in its own memory."""

import http.server
import itertools
import sys
import threading

host, port = sys.argv[1].rsplit(":", 1)
logins, numbers, lock = {}, itertools.count(), threading.Lock()


class Page(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        cookies = dict(
            pair.split("=", 1) for pair in self.headers.get("Cookie", "").split("; ") if "=" in pair
        )
        login, new = cookies.get("login"), False
        with lock:
            if login not in logins:
                login, new = f"python.{next(numbers)}", True
            logins[login] = logins.get(login, 0) + 1
            count = logins[login]
        request = self.headers.get("X-Request", "-")
        body = f"server=python login={login} count={count} id={request}\n".encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        if new and self.path != "/health":
            self.send_header("Set-Cookie", f"login={login}; Path=/")
        self.end_headers()
        self.wfile.write(body)

    def do_POST(self):
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.do_GET()

    def log_message(self, *_):
        pass


class Server(http.server.ThreadingHTTPServer):
    request_queue_size = 128


Server((host, int(port)), Page).serve_forever()
