//! Requests, and which of them no server needs to see.

use super::*;

fn request(command: Command, offset: u64, length: u32) -> Request {
    Request {
        flags: 0,
        command,
        cookie: 0x0102_0304_0506_0708,
        offset,
        length,
    }
}

#[test]
fn requests_are_written_and_read() {
    let mut bytes = Vec::new();
    let read = request(Command::Read, 4096, 512);
    read.write(&mut bytes);
    let expected =
        b"\x25\x60\x95\x13\0\0\0\0\x01\x02\x03\x04\x05\x06\x07\x08\0\0\0\0\0\0\x10\0\0\0\x02\0";
    assert_eq!(bytes, expected);
    assert_eq!(Request::parse(&bytes), Ok(Some(read)));
    assert_eq!(Request::parse(&bytes[..27]), Ok(None));
    bytes[0] = 0x26;
    assert_eq!(Request::parse(&bytes[..4]), Err(BadRequestMagic));
    assert_eq!(request(Command::Write, 0, 7).payload_bytes(), 7);
    assert_eq!(request(Command::WriteZeroes, 0, 7).payload_bytes(), 0);
}

/// An export with all there is, in blocks of 512.
fn agreed() -> Negotiated {
    Negotiated {
        export: Export {
            size: MEBIBYTE,
            flags: transmission_flag::KNOWN & !transmission_flag::READ_ONLY,
            block_sizes: Some(BlockSizes {
                minimum: 512,
                preferred: 4096,
                payload_max: 65_536,
            }),
        },
        ..structured()
    }
}

#[test]
fn what_was_agreed_on_is_let_through() {
    for (command, flags) in [
        (Command::Read, command_flag::DF | command_flag::FUA),
        (Command::Write, command_flag::FUA),
        (Command::Trim, command_flag::FUA),
        (Command::Cache, 0),
        (
            Command::WriteZeroes,
            command_flag::NO_HOLE | command_flag::FAST_ZERO,
        ),
        (Command::BlockStatus, command_flag::REQ_ONE),
    ] {
        let request = request(command, MEBIBYTE - 65_536, 65_536);
        let request = Request { flags, ..request };
        assert_eq!(request.refusal(&agreed()), None, "{request:?}");
    }
    assert_eq!(request(Command::Flush, 0, 0).refusal(&agreed()), None);
    assert_eq!(
        request(Command::WriteZeroes, 0, 1 << 20).refusal(&agreed()),
        None
    );
    assert_eq!(request(Command::Disconnect, 1, 1).refusal(&agreed()), None);
}

#[test]
fn what_was_not_agreed_on_is_refused() {
    let invalid = ErrorNumber::Invalid;
    for (command, offset, length, error) in [
        (Command::Read, MEBIBYTE, 512, invalid),
        (Command::Read, u64::MAX - 511, 1024, invalid),
        (Command::Read, 100, 512, invalid),
        (Command::Read, 0, 100, invalid),
        (Command::Read, 0, 66_048, invalid),
        (Command::Write, MEBIBYTE - 512, 1024, ErrorNumber::NoSpace),
        (Command::Write, 0, 66_048, invalid),
        (Command::WriteZeroes, 512, 1 << 20, ErrorNumber::NoSpace),
        (Command::Trim, 512, 1 << 20, invalid),
        (Command::Flush, 0, 512, invalid),
        (Command::Other(8), 0, 0, invalid),
    ] {
        let request = request(command, offset, length);
        assert_eq!(request.refusal(&agreed()), Some(error), "{request:?}");
    }
    for (command, flags) in [
        (Command::Read, command_flag::REQ_ONE),
        (Command::Write, command_flag::NO_HOLE),
        (Command::Trim, command_flag::FAST_ZERO),
        (Command::BlockStatus, 1 << 5),
    ] {
        let request = Request {
            flags,
            ..request(command, 0, 512)
        };
        assert_eq!(request.refusal(&agreed()), Some(invalid), "{request:?}");
    }
}

#[test]
fn what_was_not_offered_is_refused() {
    let bare = |flags| Negotiated {
        export: Export {
            size: MEBIBYTE,
            flags: transmission_flag::HAS_FLAGS | flags,
            block_sizes: None,
        },
        ..simple()
    };
    for command in [
        Command::Trim,
        Command::Cache,
        Command::WriteZeroes,
        Command::BlockStatus,
    ] {
        let refusal = request(command, 0, 1).refusal(&bare(0));
        assert_eq!(refusal, Some(ErrorNumber::Invalid), "{command:?}");
    }
    for flags in [command_flag::FUA, command_flag::DF] {
        let read = Request {
            flags,
            ..request(Command::Read, 0, 1)
        };
        assert_eq!(read.refusal(&bare(0)), Some(ErrorNumber::Invalid));
    }
    for command in [Command::Write, Command::Trim, Command::WriteZeroes] {
        let refusal = request(command, 0, 1).refusal(&bare(transmission_flag::READ_ONLY));
        assert_eq!(refusal, Some(ErrorNumber::NotPermitted), "{command:?}");
    }
    let whole = request(Command::Read, 0, PAYLOAD_BYTES_MAX + 1);
    assert_eq!(whole.refusal(&bare(0)), Some(ErrorNumber::Invalid));
}
