//! Telnet: whatever a server sends is understood alike in any pieces, and a notice changes nothing.

use ebbtide_protocol::telnet::{Place, Stream, write_notice};

/// A byte for the size of the pieces, and what a server sends.
pub fn telnet(input: &[u8]) {
    let Some((size, sent)) = input.split_first() else {
        return;
    };
    let size = usize::from(*size).max(1);
    let mut whole = Stream::new();
    whole.pass(sent);
    let mut follower = Stream::new();
    for piece in sent.chunks(size) {
        let found = follower.to_line_start(piece);
        let mut ahead = follower.clone();
        ahead.pass(&piece[..found.unwrap_or(0)]);
        match found {
            Some(_) => {
                assert_eq!(ahead.place(), Place::LineStart);
                assert_eq!(ahead.to_line_start(&[]), Some(0));
                told(&ahead, piece, sent);
            }
            None => assert_ne!(ahead.place(), Place::LineStart),
        }
        follower.pass(piece);
    }
    assert_eq!(follower.place(), whole.place());
}

/// A notice at the start of a line, with anything in it: what follows is understood as before.
fn told(at: &Stream, text: &[u8], after: &[u8]) {
    let mut notice = Vec::new();
    write_notice(&mut notice, &String::from_utf8_lossy(text));
    let is_text = |byte: &u8| matches!(byte, b'\r' | b'\n' | b' '..=b'~');
    assert!(notice.iter().all(is_text) && notice.ends_with(b"\r\n"));
    let (mut with, mut without) = (at.clone(), at.clone());
    with.pass(&notice);
    assert_eq!(with.place(), Place::LineStart);
    let some = &after[..after.len().min(64)];
    assert_eq!(with.to_line_start(some), without.to_line_start(some));
    with.pass(some);
    without.pass(some);
    assert_eq!(with.place(), without.place());
}
