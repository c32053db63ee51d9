//! `ebbtide demo`: three servers whose users have something to lose, Ebbtide in front of them, and
//! commands to try on it.

mod application;
mod http_client;
mod users;

use crate::cli::{DemoArgs, Global};
use crate::config;
use crate::exit::{Exit, Failure};
use crate::node::Node;
use crate::output;
use crate::screen::{self, Screen};
use crate::signals::StopSignals;
use crate::status_page::page;
use crate::target::DEMO_DIRECTORY;
use crate::view::{Line, Style, on_terminal};
use application::{ADMIN_FIELD, Application, LOGIN_LIFE, USER_COOKIE};
use ebbtide_api::{Client, Role, SOCKET_NAME};
use ebbtide_control::{USERS_FILE, UsersFile};
use ebbtide_core::Millis;
use std::fs;
use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;
use tokio::sync::oneshot;
use tokio::time::{Instant, sleep, sleep_until};
use users::Account;

const ADMIN_PORT: u16 = 7070;
/// Who may sign in to the demo's console.
const CONSOLE_USER: &str = "demo";
/// What is still running when the demo is ended gets this long.
const STOP_GRACE: Millis = Millis(500);
const REDRAW: Duration = Duration::from_secs(1);
const REPRINT: Duration = Duration::from_secs(5);
/// Later than any demo ends.
const NEVER: Duration = Duration::from_secs(10 * 365 * 24 * 3600);

/// Runs until Ctrl-C, or as long as `--for` says.
pub async fn run(arguments: &DemoArgs, global: &Global) -> Result<Exit, Failure> {
    let failed = |what: &str, error: io::Error| Failure::failed(format!("{what}: {error}"));
    let mut stop =
        StopSignals::catch().map_err(|error| failed("cannot listen for Ctrl-C", error))?;
    let directory = Directory::make()
        .map_err(|error| failed("cannot make a directory for temporary files", error))?;
    let applications = start_applications()
        .map_err(|error| failed("cannot start the model applications", error))?;
    let front = port_or_free(arguments.port)
        .map_err(|error| failed("there is no free port on 127.0.0.1", error))?;
    let admin = port_or_free(ADMIN_PORT)
        .map_err(|error| failed("there is no free port on 127.0.0.1", error))?;
    let file = directory.0.join("ebbtide.toml");
    let text = configuration(&directory.0, front, admin, &applications.servers);
    fs::write(&file, text)
        .map_err(|error| failed(&format!("cannot write {}", file.display()), error))?;
    let password = add_user(&directory.0)?;
    let node = Node::start(&config::load(&file)?, file)?;
    let account = Arc::new(Account::default());
    let users = Background::start("demo-users", users::live(front, Arc::clone(&account)))
        .map_err(|error| failed("cannot start the users", error))?;

    let socket = directory.0.join(SOCKET_NAME);
    let intro = introduction(front, admin, arguments.port, &socket, &password);
    let shown = Shown {
        client: Client::unix(&socket),
        account: Arc::clone(&account),
        intro,
    };
    let end = Instant::now()
        + arguments
            .span
            .map_or(NEVER, |span| Duration::from_millis(span.0));
    tokio::select! {
        () = stop.next() => {}
        () = sleep_until(end) => {}
        () = shown.show(arguments.plain, global.json) => {}
    }
    drop(users);
    node.stop(STOP_GRACE, stop.next()).await;
    drop(applications);
    if global.json {
        output::json_line(&serde_json::json!({ "account": account.line() }));
    } else {
        output::line(account.line());
    }
    Ok(Exit::Done)
}

/// What is on the terminal while the demo runs.
struct Shown {
    client: Client,
    account: Arc<Account>,
    intro: Vec<Line>,
}

impl Shown {
    /// Shows it for ever; dropping the future brings the terminal back as it was.
    async fn show(&self, plain: bool, json: bool) {
        if json {
            return self.print_json().await;
        }
        if plain || !on_terminal() {
            screen::print(&self.intro);
            loop {
                sleep(REPRINT).await;
                let mut lines = vec![Line::default()];
                lines.extend(self.status().await);
                screen::print(&lines);
            }
        }
        let screen = Screen::enter();
        loop {
            let mut lines = self.status().await;
            lines.push(Line::default());
            lines.extend(self.intro.iter().cloned());
            screen.draw(&lines);
            sleep(REDRAW).await;
        }
    }

    async fn print_json(&self) {
        loop {
            sleep(REPRINT).await;
            if let Ok(status) = self.client.status().await {
                output::json_line(&status);
            }
        }
    }

    async fn status(&self) -> Vec<Line> {
        let mut lines = match self.client.status().await {
            Ok(status) => page(&status, screen::width()),
            Err(error) => vec![Line::of(Style::Bad, error.to_string())],
        };
        let style = if self.account.is_clean() {
            Style::Good
        } else {
            Style::Warning
        };
        lines.push(Line::of(style, self.account.line()));
        lines
    }
}

fn introduction(
    front: SocketAddr,
    admin: SocketAddr,
    wanted_port: u16,
    socket: &Path,
    password: &str,
) -> Vec<Line> {
    let mut lines = vec![
        Line::of(Style::Bold, format!("Open http://{front}/ and log in")),
        Line::of(
            Style::Bold,
            format!("and the console at http://{admin}/ as {CONSOLE_USER}, password {password}"),
        ),
        Line::of(
            Style::Dim,
            format!("admin: http://{admin} and unix:{}", socket.display()),
        ),
    ];
    for (wanted, got) in [(wanted_port, front.port()), (ADMIN_PORT, admin.port())] {
        if wanted != got {
            let text = format!("port {wanted} is taken here, so it is {got} this time");
            lines.push(Line::of(Style::Warning, text));
        }
    }
    let program = std::env::current_exe().unwrap_or_else(|_| "ebbtide".into());
    let program = format!("{} --admin unix:{}", program.display(), socket.display());
    lines.push(Line::of(Style::Bold, "Try in another terminal:"));
    for (command, comment) in [
        ("alias ebbtide=", ""),
        (
            "ebbtide drain demo/blue --within 6m",
            "its users finish in peace; none loses work",
        ),
        (
            "ebbtide drain demo/blue --within 20s",
            "or sooner: what is left then is ended",
        ),
        ("ebbtide wait demo/blue --for drained", "returns when it is"),
        ("ebbtide ready demo/blue", "back into traffic"),
        (
            "ebbtide hold demo/green",
            "no new users; those who are there stay",
        ),
        ("ebbtide sessions demo --active", "who is where"),
        (
            "ebbtide close demo --within 2m",
            "close the service: users are told, on your page too",
        ),
        (
            "ebbtide door demo/blue --as-admin",
            "your own way in, closed or not; the page says so",
        ),
        ("ebbtide open demo", "open again"),
        (
            "ebbtide maintenance demo/gold",
            "at once: users lose their work",
        ),
    ] {
        let text = match command {
            "alias ebbtide=" => format!("  alias ebbtide='{program}'"),
            command => format!("  {command:<40} # {comment}"),
        };
        lines.push(Line::of(Style::Plain, text));
    }
    lines.push(Line::of(Style::Dim, "Ctrl-C ends all of it."));
    lines
}

/// A user for the console, who may do everything; his password.
fn add_user(directory: &Path) -> Result<String, Failure> {
    const LETTERS: &[u8; 32] = b"abcdefghijkmnpqrstuvwxyz23456789";
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes)
        .map_err(|error| Failure::failed(format!("the system gives no random bytes: {error}")))?;
    let letters = bytes.map(|byte| char::from(LETTERS[usize::from(byte) % LETTERS.len()]));
    let password: String = letters.iter().collect();
    UsersFile::new(directory.join(USERS_FILE)).add(CONSOLE_USER, Role::Admin, &password)?;
    Ok(password)
}

fn configuration(
    directory: &Path,
    front: SocketAddr,
    admin: SocketAddr,
    servers: &[(&str, SocketAddr)],
) -> String {
    let servers: Vec<String> = servers
        .iter()
        .map(|(name, address)| format!("{name} = \"{address}\"\n"))
        .collect();
    format!(
        "\
state_dir = {directory:?}

[admin]
listen = \"{admin}\"

[listeners.front]
bind = \"{front}\"
pool = \"demo\"

[pools.demo]
balance = \"least-sessions\"
contact = \"whoever started the demo\"
logout = [\"/logout\"]
logout_call = {{ path = \"/logout\", method = \"POST\" }}
user = {{ cookie = \"{USER_COOKIE}\" }}
door = {{ admin_field = \"{ADMIN_FIELD}: 1\" }}
sticky = {{ reuse = \"{}s\", active = \"10s\" }}
health = {{ path = \"/health\", expect = \"ACTIVE\", every = \"1s\" }}

[pools.demo.servers]
{}",
        LOGIN_LIFE.as_secs(),
        servers.concat()
    )
}

/// The applications' thread, and where they listen.
struct Applications {
    servers: Vec<(&'static str, SocketAddr)>,
    _thread: Background,
}

fn start_applications() -> io::Result<Applications> {
    let colours = [
        ("blue", "#2563ab"),
        ("green", "#2f855a"),
        ("gold", "#b7791f"),
    ];
    let mut servers = Vec::new();
    let mut listeners = Vec::new();
    for (name, colour) in colours {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        listener.set_nonblocking(true)?;
        servers.push((name, listener.local_addr()?));
        listeners.push((Application::new(name, colour), listener));
    }
    let serving = async {
        let mut serving = tokio::task::JoinSet::new();
        for (application, listener) in listeners {
            serving.spawn(application::serve(application, listener));
        }
        while serving.join_next().await.is_some() {}
    };
    Ok(Applications {
        servers,
        _thread: Background::start("demo-servers", serving)?,
    })
}

/// A thread with a runtime of its own, so that what runs there takes no time from Ebbtide's
/// threads; dropping it ends it.
struct Background {
    end: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Background {
    fn start(name: &str, work: impl Future<Output = ()> + Send + 'static) -> io::Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        let (end, ended) = oneshot::channel::<()>();
        let until_ended = async {
            tokio::select! {
                () = work => {}
                _ = ended => {}
            }
        };
        let thread = std::thread::Builder::new()
            .name(name.into())
            .spawn(move || runtime.block_on(until_ended))?;
        Ok(Self {
            end: Some(end),
            thread: Some(thread),
        })
    }
}

impl Drop for Background {
    fn drop(&mut self) {
        drop(self.end.take());
        if self
            .thread
            .take()
            .is_some_and(|thread| thread.join().is_err())
        {
            tracing::error!("a thread of the demo had panicked");
        }
    }
}

/// The directory of this demo; removed with it.
struct Directory(PathBuf);

impl Directory {
    fn make() -> io::Result<Self> {
        let name = format!("{DEMO_DIRECTORY}{}", std::process::id());
        let path = std::env::temp_dir().join(name);
        // A directory that is there already is somebody else's, or of a demo that was killed.
        fs::DirBuilder::new().mode(0o700).create(&path)?;
        Ok(Self(path))
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_dir_all(&self.0) {
            eprintln!(
                "ebbtide: {} could not be removed: {error}",
                self.0.display()
            );
        }
    }
}

/// This port of 127.0.0.1, or a free one if it is taken.
fn port_or_free(port: u16) -> io::Result<SocketAddr> {
    let wanted = TcpListener::bind((Ipv4Addr::LOCALHOST, port));
    let listener = match wanted {
        Ok(listener) => listener,
        Err(_) => TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?,
    };
    listener.local_addr()
}
