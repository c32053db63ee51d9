use super::*;
use ebbtide_core::Millis;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpListener;

fn settings(port: u16, timeout: Millis) -> AgentSettings {
    AgentSettings {
        port,
        every: Millis(2_000),
        timeout,
    }
}

/// What is understood of an agent that says this and hangs up.
async fn asked(says: &[u8]) -> Result<AgentSaid, String> {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let says = says.to_vec();
    tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        // Whoever has read enough hangs up.
        drop(stream.write_all(&says).await);
    });
    ask(address, &settings(address.port(), Millis(60_000))).await
}

#[tokio::test]
async fn an_agents_line_is_understood() {
    let said = asked(b"fail,maint,40%,maxconn:7 #new disks\r\n").await;
    let expected = AgentSaid {
        wish: Some(AgentWish::Maintenance),
        health: Some(AgentHealth::Fail),
        weight: Some(AgentWeight::Percent(40)),
        max_sessions: Some(7),
        remark: Some("new disks".into()),
        note: None,
    };
    assert_eq!(said, Ok(expected));
    let said = asked(b"up weight:3 ready\n").await.unwrap();
    assert_eq!(said.weight, Some(AgentWeight::Absolute(3)));
    let said = asked(b"up 5000% and more\n").await.unwrap();
    assert_eq!(said.weight, Some(AgentWeight::Percent(1000)));
    let note = said.note.unwrap();
    assert!(
        note.contains("5000 %") && note.contains("and more"),
        "{note}"
    );
}

#[tokio::test]
async fn what_is_no_line_says_why() {
    let megabyte = [b"drain ".repeat(180_000), b"\n".to_vec()].concat();
    for (says, why) in [
        (&b""[..], "it hangs up without a word"),
        (b"\n", "its line is empty"),
        (b"# all is well\n", "which has no word of an agent"),
        (b"drain", "it hangs up before the end of its line"),
        (&megabyte, "its line is longer than 4096 bytes"),
        (
            b"HTTP/1.1 400 Bad Request\r\n\r\n",
            "which has no word of an agent",
        ),
        (b"\xff\x00\xfe\n", "which has no word of an agent"),
    ] {
        // Whoever hangs up with something unread may be known by the reset only.
        let error = asked(says).await.unwrap_err();
        assert!(error.contains(why), "{error}");
    }
}

#[tokio::test]
async fn a_line_in_pieces_is_waited_for_and_no_longer_than_that() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (stay, gone) = tokio::sync::oneshot::channel::<()>();
    tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        for piece in ["dra", "in #no", "w\n"] {
            stream.write_all(piece.as_bytes()).await.unwrap();
            tokio::task::yield_now().await;
        }
        // The connection stays open: the line is all.
        drop(gone.await);
        drop(stream);
    });
    let said = ask(address, &settings(address.port(), Millis(60_000))).await;
    assert_eq!(said.unwrap().wish, Some(AgentWish::Drain));
    drop(stay);
}

#[tokio::test(start_paused = true)]
async fn an_agent_that_never_answers_is_given_up_in_time() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let error = ask(address, &settings(address.port(), Millis(1_000))).await;
    assert_eq!(error, Err("no whole line within 1s".to_owned()));
}

#[tokio::test]
async fn nobody_there_is_told_in_words() {
    let address = {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        listener.local_addr().unwrap()
    };
    let error = ask(address, &settings(address.port(), Millis(60_000))).await;
    assert_eq!(error, Err("connection refused".to_owned()));
}
