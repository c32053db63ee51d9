use super::*;
use ebbtide_testkit::Scratch;

fn found(name: &str, path: &Path) -> Found {
    Found {
        name: name.to_owned(),
        stamp: Stamp::of(&std::fs::metadata(path).unwrap()),
    }
}

/// Bytes that are different everywhere.
fn bytes(length: u64) -> Vec<u8> {
    let mut bytes = vec![0; length as usize];
    Hasher::new().finalize_xof().fill(&mut bytes);
    bytes
}

#[test]
fn files_of_every_length_have_the_digest_that_blake3_gives_them() {
    let scratch = Scratch::new();
    let lengths = [
        0,
        1,
        1024,
        1025,
        PIECE - 1,
        PIECE,
        PIECE + 1,
        2 * PIECE,
        3 * PIECE + 7,
    ];
    let all = bytes(3 * PIECE + 7);
    let mut files = Vec::new();
    for length in lengths {
        let path = scratch.join(&length.to_string());
        std::fs::write(&path, &all[..length as usize]).unwrap();
        files.push(found(&length.to_string(), &path));
    }
    let mut hashed = hash_all(&scratch.join("."), files, false);
    hashed.sort_by_key(|hashed| hashed.name.parse::<u64>().unwrap());
    assert_eq!(hashed.len(), lengths.len());
    for (hashed, length) in hashed.iter().zip(lengths) {
        let expected = Digest(*blake3::hash(&all[..length as usize]).as_bytes());
        let Outcome::Whole { digest, stamp } = &hashed.outcome else {
            panic!("{hashed:?}");
        };
        assert_eq!((stamp.size, *digest), (length, expected), "{length} bytes");
    }
}

#[test]
fn pieces_are_put_together_as_the_tree_of_the_whole_is() {
    let all = bytes(9 * 1024);
    for count in 1..=9 {
        let whole = &all[..(count * 1024) - 5];
        let values = whole.chunks(1024).enumerate().map(|(index, piece)| {
            let mut hasher = Hasher::new();
            hasher.set_input_offset(index as u64 * 1024).update(piece);
            match count {
                1 => *hasher.finalize().as_bytes(),
                _ => hasher.finalize_non_root(),
            }
        });
        let values: Vec<[u8; 32]> = values.collect();
        assert_eq!(
            root(&values),
            *blake3::hash(whole).as_bytes(),
            "{count} pieces"
        );
    }
}

#[test]
fn a_file_that_is_not_as_it_was_opened_is_read_again_and_then_told() {
    let scratch = Scratch::new();
    let path = scratch.join("disk");
    std::fs::write(&path, bytes(100)).unwrap();
    let directory = scratch.join(".");
    let work = Work {
        directory: &directory,
        queue: Mutex::new(Queue {
            files: [("disk".to_owned(), 1)].into(),
            current: None,
        }),
        done: Mutex::default(),
        bytes: AtomicU64::new(0),
    };
    let mut buffer = vec![0; BUFFER];
    for tries in 1..=TRIES {
        let (reading, piece) = work.next().expect("it is to be read");
        assert_eq!((reading.tries, piece), (tries, 0));
        // Cut off under the reader: a short read, or another size afterwards.
        std::fs::write(&path, bytes(100 - u64::from(tries))).unwrap();
        let read = reading.hash(piece, &mut buffer, &work.bytes);
        assert!(reading.note(piece, read));
        work.finish(&reading);
    }
    assert!(work.next().is_none());
    let done = lock(&work.done);
    let expected = Outcome::Failed("changed while it was read, 3 times".into());
    assert_eq!(done[0].outcome, expected);
}

#[test]
fn what_is_no_file_any_more_is_told() {
    let scratch = Scratch::new();
    std::fs::write(scratch.join("disk"), "x").unwrap();
    let files = vec![found("disk", &scratch.join("disk"))];
    std::fs::remove_file(scratch.join("disk")).unwrap();
    std::os::unix::fs::symlink("/etc/passwd", scratch.join("disk")).unwrap();
    let hashed = hash_all(&scratch.join("."), files, false);
    let Outcome::Failed(why) = &hashed[0].outcome else {
        panic!("{hashed:?}");
    };
    assert!(why.contains("cannot be read"), "{why}");
}
