//! What is looked for among sessions. It is asked of each of them, so it allocates little.

use ebbtide_core::{Session, SessionId};
use std::net::IpAddr;

/// Part of a user's name, an address or a number, in upper or lower case.
#[derive(Clone, Debug)]
pub(super) struct Sought {
    /// In lower case.
    text: String,
    /// How many hexadecimal digits it is, if it can be part of a number, and which.
    digits: Option<(u32, u64)>,
    can_be_address: bool,
}

impl Sought {
    pub fn new(text: &str) -> Self {
        let text = text.to_lowercase();
        let is_hex = |byte: u8| byte.is_ascii_hexdigit();
        let is_number = (1..=16).contains(&text.len()) && text.bytes().all(is_hex);
        let number = u64::from_str_radix(&text, 16).ok();
        Self {
            digits: number
                .filter(|_| is_number)
                .map(|number| (text.len() as u32, number)),
            can_be_address: text
                .bytes()
                .all(|byte| is_hex(byte) || b".:".contains(&byte)),
            text,
        }
    }

    /// Whether it is found in one of a session's texts.
    pub fn is_in(&self, session: &Session) -> bool {
        // Of one that was buried by a restart nothing is known but its number.
        self.text.is_empty()
            || self.is_in_number(session.id)
            || session.with_user(|user| self.is_in_name(user)) == Some(true)
            || (!session.is_buried() && self.is_in_address(session.client))
    }

    fn is_in_name(&self, name: &str) -> bool {
        if !name.is_ascii() {
            return name.to_lowercase().contains(&self.text);
        }
        let sought = self.text.as_bytes();
        let mut parts = name.as_bytes().windows(sought.len());
        parts.any(|part| part.eq_ignore_ascii_case(sought))
    }

    fn is_in_number(&self, id: SessionId) -> bool {
        let Some((digits, number)) = self.digits else {
            return false;
        };
        let mask = u64::MAX >> (64 - 4 * digits);
        (0..=16 - digits).any(|place| (id.0 >> (4 * place)) & mask == number)
    }

    fn is_in_address(&self, address: IpAddr) -> bool {
        // Addresses are written in lower case.
        self.can_be_address && address.to_string().contains(&self.text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SOUGHT: [&str; 28] = [
        "a",
        "ANNA",
        "anna-",
        "nobody",
        "Ö",
        "öz",
        "STRASSE",
        "straße",
        "\u{212a}",
        "k",
        "İ",
        "ΣΑΣ",
        "日本",
        "a b",
        "0",
        "f",
        "DEAD",
        "deadbeef",
        "00000000deadbeef",
        "100000000deadbeef",
        "+5",
        "10.0",
        "0.0.1",
        "2001:DB8",
        "::1",
        ":",
        "b8::",
        "ffff:192",
    ];

    fn naive(text: impl ToString, sought: &str) -> bool {
        let text = text.to_string().to_lowercase();
        text.contains(&sought.to_lowercase())
    }

    /// However it is looked for: what is found is what stands in the text as people see it.
    #[test]
    fn what_is_found_is_what_stands_there_in_any_case() {
        let names = [
            "",
            "anna",
            "Anna-Lena",
            "HANNA B",
            "Özdemir",
            "Straße",
            "STRASSE",
            "\u{212a}elvin",
            "Kelvin",
            "İpek",
            "ΟΔΥΣΣΕΑΣ",
            "日本太郎",
            "10.0.0.1",
        ];
        let numbers = [0, 5, 0xdead_beef, 0xdead_beef << 32, u64::MAX, 0xf << 60];
        let addresses = [
            "10.0.0.1",
            "192.0.2.255",
            "2001:db8::1",
            "::1",
            "::",
            "::ffff:192.0.2.1",
            "fe80::dead:beef",
        ];
        for text in SOUGHT {
            let sought = Sought::new(text);
            for name in names {
                assert_eq!(
                    sought.is_in_name(name),
                    naive(name, text),
                    "{text} in {name}"
                );
            }
            for id in numbers.map(SessionId) {
                assert_eq!(sought.is_in_number(id), naive(id, text), "{text} in {id}");
            }
            for address in addresses {
                let address: IpAddr = address.parse().unwrap();
                let found = sought.is_in_address(address);
                assert_eq!(found, naive(address, text), "{text} in {address}");
            }
        }
    }
}
