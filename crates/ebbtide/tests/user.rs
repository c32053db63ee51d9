//! `ebbtide user` from outside, where no node runs: what it prints, what it writes, its exit codes.

use ebbtide_testkit::Scratch;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::process::{Command, Stdio};

const SECRET: &str = "correct horse battery";

/// The program, where no configuration and no demo is found.
fn program(scratch: &Scratch, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_ebbtide"));
    command
        .args(arguments)
        .current_dir(scratch.path())
        .env("TMPDIR", scratch.path())
        .env_remove("EBBTIDE_ADMIN")
        .env_remove("EBBTIDE_TOKEN")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    command
}

/// The exit code and everything that was printed.
fn run(scratch: &Scratch, arguments: &[&str], input: &str) -> (i32, String) {
    let mut child = program(scratch, arguments).spawn().expect("it starts");
    let mut stdin = child.stdin.take().expect("a pipe");
    // Whoever refuses before reading closes it.
    let _ = stdin.write_all(input.as_bytes());
    drop(stdin);
    let output = child.wait_with_output().expect("it ends");
    let text = [output.stdout, output.stderr].map(|bytes| String::from_utf8(bytes).expect("text"));
    (output.status.code().unwrap_or(-1), text.concat())
}

#[test]
fn users_are_kept_in_the_file_of_the_configuration_and_in_no_other() {
    let scratch = Scratch::new();
    let add = [
        "user",
        "add",
        "anna",
        "--role",
        "operator",
        "--password-stdin",
    ];
    std::fs::write(scratch.join("ebbtide.toml"), "state_dir = \"state\"\n").expect("a file");
    std::fs::create_dir(scratch.join("state")).expect("a directory");
    let (code, text) = run(&scratch, &add, &format!("{SECRET}\nsomething else\n"));
    assert_eq!(code, 0, "{text}");
    assert_eq!(text, "the user anna has the role operator (state/users)\n");
    let file = scratch.join("state/users");
    let written = std::fs::read_to_string(&file).expect("the file");
    assert!(written.contains("[anna]\nrole = \"operator\""), "{written}");
    assert!(
        written.contains("$argon2id$v=19$m=19456,t=2,p=1$"),
        "{written}"
    );
    assert!(!written.contains(SECRET), "{written}");
    let mode = std::fs::metadata(&file)
        .expect("the file")
        .permissions()
        .mode();
    assert_eq!(mode & 0o777, 0o600);

    std::fs::write(
        scratch.join("ebbtide.toml"),
        "state_dir = \"state\"\n[admin]\nusers = \"people\"\nlisten = 17\n",
    )
    .expect("a file");
    let (code, text) = run(&scratch, &["user", "list"], "");
    assert_eq!((code, text.as_str()), (0, "no users in people\n"));
    let named = ["user", "list", "--json", "--file", "state/users"];
    let (code, text) = run(&scratch, &named, "");
    let json: serde_json::Value = serde_json::from_str(&text).expect("JSON");
    assert_eq!((code, &json["users"][0]["name"]), (0, &"anna".into()));
    assert!(!text.contains("argon2"), "{text}");
}

#[test]
fn mistakes_are_told_and_change_nothing() {
    let scratch = Scratch::new();
    let user = |arguments: &[&str], input: &str| {
        let mut all = vec!["user", "--file", "users"];
        all.extend(arguments);
        run(&scratch, &all, input)
    };
    let add = |name: &str, secret: &str| {
        user(
            &["add", name, "--role", "viewer", "--password-stdin"],
            secret,
        )
    };
    assert_eq!(add("anna", SECRET).0, 0);
    let before = std::fs::read_to_string(scratch.join("users")).expect("the file");
    for ((code, text), expected, says) in [
        (add("anna", SECRET), 1, "already"),
        (add("boris", "too short\n"), 2, "at least 12"),
        (add("boris", ""), 2, "0 characters"),
        (add("bo ris", SECRET), 2, "letters, digits"),
        (
            user(&["password", "boris", "--password-stdin"], SECRET),
            1,
            "no user boris",
        ),
        (
            user(&["password", "anna", "--password-stdin"], "short"),
            2,
            "at least 12",
        ),
        (user(&["role", "boris", "admin"], ""), 1, "no user boris"),
        (
            user(&["role", "anna", "boss"], ""),
            2,
            "viewer, operator, admin",
        ),
        (user(&["remove", "boris"], ""), 1, "no user boris"),
        (user(&["sign-out", "boris"], ""), 1, "no user boris"),
        (
            run(
                &scratch,
                &["user", "list", "--admin", "http://127.0.0.1:1"],
                "",
            ),
            2,
            "own machine",
        ),
    ] {
        assert_eq!(code, expected, "{text}");
        assert!(text.contains(says), "{text}");
    }
    let after = std::fs::read_to_string(scratch.join("users")).expect("the file");
    assert_eq!(before, after);
    std::fs::write(scratch.join("users"), "[anna]\nrole = \"boss\"\n").expect("a file");
    let (code, text) = user(&["list"], "");
    assert_eq!(code, 1);
    assert!(text.contains("users: ") && text.contains("boss"), "{text}");
}

/// Types at a terminal of its own: each word when the text before it has been shown. What the terminal
/// has shown goes to standard output.
const TYPIST: &str = "\
import os, pty, sys
pairs = list(zip(sys.argv[1].split('|')[::2], sys.argv[1].split('|')[1::2]))
pid, terminal = pty.fork()
if pid == 0: os.execv(sys.argv[2], sys.argv[2:])
shown = b''
while True:
    try: more = os.read(terminal, 1000)
    except OSError: break
    if not more: break
    shown += more
    if pairs and shown.rstrip().endswith(pairs[0][0].encode()):
        word = pairs.pop(0)[1].encode().decode('unicode_escape').encode()
        os.write(terminal, word)
_, status = os.waitpid(pid, 0)
print(shown.decode(), os.waitstatus_to_exitcode(status))
";

#[test]
fn a_typed_password_is_asked_for_twice_and_never_shown() {
    let scratch = Scratch::new();
    let typed = |script: &str, arguments: &[&str]| {
        let output = Command::new("python3")
            .args(["-c", TYPIST, script, env!("CARGO_BIN_EXE_ebbtide")])
            .args(["user", "--file", "users"])
            .args(arguments)
            .current_dir(scratch.path())
            .output();
        let output = output.expect("python3 is installed: `cargo xtask test` does that");
        String::from_utf8(output.stdout).expect("text")
    };
    let add = ["add", "anna", "--role", "admin"];
    let first = "New password of anna:";
    let again = "The same again:";
    let text = typed(&format!("{first}|{SECRET}\\n|{again}|{SECRET}\\n"), &add);
    assert!(text.contains("the user anna has the role admin"), "{text}");
    assert!(
        !text.contains(SECRET) && text.trim_end().ends_with(" 0"),
        "{text}"
    );

    let other = ["add", "boris", "--role", "admin"];
    let first = "New password of boris:";
    for (script, says) in [
        (
            format!("{first}|{SECRET}\\n|{again}|{SECRET}s\\n"),
            "not the same",
        ),
        (format!("{first}|short\\n"), "at least 12"),
        (format!("{first}|\\x03"), "interrupted"),
        (format!("{first}|\\x04"), "0 characters"),
    ] {
        let text = typed(&script, &other);
        assert!(
            text.contains(says) && !text.trim_end().ends_with(" 0"),
            "{text}"
        );
    }
    // Who there is is told before anything has to be typed.
    let text = typed("", &add);
    assert!(
        text.contains("already") && !text.contains("password of"),
        "{text}"
    );
    let written = std::fs::read_to_string(scratch.join("users")).expect("the file");
    assert!(!written.contains("boris"), "{written}");
}
