//! Version pages, read from servers that answer by script.

use super::*;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

async fn answer(page: &'static [u8], expect: Option<&str>) -> VersionAnswer {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let server = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut request = Vec::new();
        while !request.ends_with(b"\r\n\r\n") {
            stream.read_buf(&mut request).await.unwrap();
        }
        stream.write_all(page).await.unwrap();
        String::from_utf8(request).unwrap()
    });
    let question = Question {
        address,
        path: "/version?x=1".into(),
        expect: expect.map(str::to_owned),
        every: UPGRADE_EVERY,
        timeout: Millis::from_secs(60),
    };
    let expect = expect.map(|expect| Regex::new(expect).unwrap());
    let answer = version(&question, expect.as_ref()).await;
    assert!(
        server
            .await
            .unwrap()
            .starts_with("GET /version?x=1 HTTP/1.1\r\n")
    );
    answer
}

fn page(answer: VersionAnswer) -> (VersionPage, bool) {
    match answer {
        VersionAnswer::Page { page, matches } => (page, matches),
        VersionAnswer::Failed(why) => panic!("no page: {why}"),
    }
}

#[tokio::test]
async fn a_page_is_told_from_others_and_matched() {
    let old = b"HTTP/1.1 200 OK\r\n\r\n <b>v1.3</b>\n\n\tbuild\x1b[31m 7\xe2\x80\xae ";
    let (old, matches) = page(answer(old, Some("v2\\..*")).await);
    assert!(!matches);
    assert_eq!(old.says, "<b>v1.3</b> build[31m 7");
    let new = b"HTTP/1.1 200 OK\r\n\r\nv2.0";
    let (new, matches) = page(answer(new, Some("v2\\..*")).await);
    assert!(matches && new.digest != old.digest);
    let (again, matches) = page(answer(b"HTTP/1.1 200 OK\r\n\r\nv2.0", None).await);
    assert!(matches && again == new);
}

#[tokio::test]
async fn what_is_no_page_is_said() {
    let broken = b"HTTP/1.1 503 No\r\nContent-Length: 2\r\n\r\nv2";
    let said = VersionAnswer::Failed("its version page answers 503".into());
    assert_eq!(answer(broken, None).await, said);
    let garbage = answer(b"SSH-2.0\r\n\r\n", None).await;
    assert!(matches!(garbage, VersionAnswer::Failed(_)), "{garbage:?}");
}

#[test]
fn the_beginning_of_a_page_is_short() {
    assert_eq!(beginning(&"x".repeat(1000)).len(), SHOWN_MAX);
    assert_eq!(beginning(" \r\n "), "");
}
