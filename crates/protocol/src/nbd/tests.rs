use super::*;

mod client;
mod properties;
mod replies;
mod requests;
mod server;

const MEBIBYTE: u64 = 1 << 20;

fn export() -> Export {
    Export {
        size: 64 * MEBIBYTE,
        flags: transmission_flag::HAS_FLAGS
            | transmission_flag::READ_ONLY
            | transmission_flag::SEND_DF
            | transmission_flag::CAN_MULTI_CONN,
        block_sizes: Some(BlockSizes {
            minimum: 1,
            preferred: 4096,
            payload_max: PAYLOAD_BYTES_MAX,
        }),
    }
}

fn structured() -> Negotiated {
    Negotiated {
        export: export(),
        structured_replies: true,
        allocation_context: Some(7),
    }
}

fn simple() -> Negotiated {
    Negotiated {
        structured_replies: false,
        allocation_context: None,
        ..structured()
    }
}

/// An option as a client sends it.
fn option(option: u32, data: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    message::write_option(&mut bytes, option, data);
    bytes
}

/// A reply as a server sends it.
fn reply(option: u32, kind: u32, data: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    message::write_reply(&mut bytes, option, kind, &[data]);
    bytes
}

fn with_length(text: &str) -> Vec<u8> {
    [&(text.len() as u32).to_be_bytes(), text.as_bytes()].concat()
}
