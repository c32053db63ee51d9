use super::*;
use std::collections::VecDeque;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

const LITTLE: &str = "{\"ebbtide_manifest\":1,\"files\":[{\"name\":\"a\",\"size\":7}]}";

fn fetcher() -> Fetcher {
    Fetcher {
        wanted: [("disk".to_owned(), "a".to_owned())].into(),
        files: Arc::new(Semaphore::new(1)),
        last: None,
    }
}

fn size(read: &Result<ManifestCopies, String>) -> Option<u64> {
    let copy = read.as_ref().unwrap_or_else(|why| panic!("{why}"));
    copy["disk"].as_ref().map(|copy| copy.size)
}

/// A web server that gives these answers, one for each connection, and the requests that came.
async fn web(answers: Vec<String>) -> (String, tokio::task::JoinHandle<Vec<String>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let place = format!("http://{}/m.json", listener.local_addr().unwrap());
    let mut answers = VecDeque::from(answers);
    let serving = tokio::spawn(async move {
        let mut requests = Vec::new();
        while let Some(answer) = answers.pop_front() {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut request = Vec::new();
            while !request.ends_with(b"\r\n\r\n") {
                assert_ne!(stream.read_buf(&mut request).await.unwrap(), 0);
            }
            requests.push(String::from_utf8(request).unwrap());
            // Whoever has read enough hangs up.
            drop(stream.write_all(answer.as_bytes()).await);
        }
        requests
    });
    (place, serving)
}

fn page(head: &str, body: &str) -> String {
    format!(
        "HTTP/1.1 200 OK\r\n{head}Content-Length: {}\r\n\r\n{body}",
        body.len()
    )
}

#[tokio::test]
async fn what_has_not_changed_is_not_sent_again() {
    let (place, serving) = web(vec![
        page("ETag: \"x\"\r\n", LITTLE),
        "HTTP/1.1 304 Not Modified\r\nETag: \"x\"\r\n\r\n".into(),
        page("ETag: \"y\"\r\n", &LITTLE.replace('7', "8")),
    ])
    .await;
    let mut fetcher = fetcher();
    for expected in [7, 7, 8] {
        assert_eq!(size(&fetcher.fetch(&place).await), Some(expected));
    }
    let requests = serving.await.unwrap();
    let asks: Vec<bool> = requests
        .iter()
        .map(|request| request.to_lowercase().contains("if-none-match: \"x\""))
        .collect();
    assert_eq!(asks, [false, true, true]);
}

#[tokio::test]
async fn an_answer_that_is_no_manifest_says_what_it_is() {
    let long = page("", &" ".repeat(MANIFEST_BYTES_MAX + 1));
    let cases = [
        (
            "HTTP/1.1 404 Not Found\r\n\r\n".to_owned(),
            "it is answered 404",
        ),
        (
            "HTTP/1.1 304 Not Modified\r\n\r\n".to_owned(),
            "it is answered 304",
        ),
        (page("", "<html>"), "is not a manifest"),
        (long, "longer than 16 MiB"),
        (
            "HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n{".into(),
            "broke off",
        ),
        ("nonsense\r\n\r\n".into(), "no sound answer"),
    ];
    for (answer, expected) in cases {
        let (place, serving) = web(vec![answer]).await;
        let error = fetcher().fetch(&place).await.unwrap_err();
        assert!(error.contains(expected), "{error}");
        assert!(error.contains(&place), "{error}");
        serving.await.unwrap();
    }
}

#[tokio::test]
async fn a_file_is_read_when_it_has_changed() {
    let directory = std::env::temp_dir().join(format!("ebbtide-manifests-{}", std::process::id()));
    std::fs::create_dir_all(&directory).unwrap();
    let file = directory.join("m.json");
    let place = file.to_str().unwrap();
    let mut fetcher = fetcher();
    let error = fetcher.fetch(place).await.unwrap_err();
    assert!(error.contains("cannot be read"), "{error}");
    std::fs::write(&file, LITTLE).unwrap();
    assert_eq!(size(&fetcher.fetch(place).await), Some(7));
    let read = fetcher.file_content(file.clone(), fetcher.last.clone().map(|(mark, _)| mark));
    assert!(read.await.unwrap().is_none(), "it is as it was");
    assert_eq!(size(&fetcher.fetch(place).await), Some(7));
    std::fs::write(&file, LITTLE.replace('7', "77")).unwrap();
    assert_eq!(size(&fetcher.fetch(place).await), Some(77));
    let sparse = File::create(&file).unwrap();
    sparse.set_len(MANIFEST_BYTES_MAX as u64 + 1).unwrap();
    let error = fetcher.fetch(place).await.unwrap_err();
    assert!(error.contains("longer than 16 MiB"), "{error}");
    let error = fetcher
        .fetch(directory.to_str().unwrap())
        .await
        .unwrap_err();
    assert!(error.contains("not a file"), "{error}");
    std::fs::remove_dir_all(&directory).unwrap();
}

#[test]
fn what_could_not_be_fetched_is_tried_again_soon() {
    let minute = Duration::from_secs(60);
    let pauses = [0, 1, 2, 3, 6, 7, u32::MAX].map(|failures| pause(failures, minute).as_secs());
    assert_eq!(pauses, [60, 1, 2, 4, 32, 60, 60]);
    let short = Duration::from_millis(100);
    assert_eq!([0, 1, 9].map(|failures| pause(failures, short)), [short; 3]);
}
