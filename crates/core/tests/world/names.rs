//! Names whose addresses are servers, by script.

use super::World;
use ebbtide_core::{Input, Millis, NameAnswer, NameConfig, NameStatus, ServerConfig};
use std::net::{Ipv4Addr, SocketAddr};

/// What a file says of a name.
pub(super) fn entry(name: &str) -> NameConfig {
    let mut server = ServerConfig::new(name, ([0, 0, 0, 0], 80).into());
    server.max_sessions = Some(9);
    NameConfig {
        name: name.to_owned(),
        host: format!("{name}.internal"),
        port: 80,
        every: Millis::from_secs(30),
        leave_within: Millis::from_secs(60),
        server,
    }
}

impl World {
    /// `lookup web 10.0.0.1 10.0.0.2 own:10.0.0.3`, `lookup web many:300`, or `lookup web fails why`.
    pub(super) fn look_up(&mut self, name: &str, answer: &[&str]) -> Vec<String> {
        let at = |address: &str| SocketAddr::new(address.parse().unwrap(), 80);
        let answer = match answer {
            ["fails", why @ ..] => Err(why.join(" ")),
            addresses => {
                let mut answer = NameAnswer::default();
                for address in addresses {
                    match address.split_once(':') {
                        Some(("own", own)) => answer.own.push((at(own), "listener web".into())),
                        Some(("many", count)) => {
                            let hosts = 0..count.parse().unwrap();
                            let all = hosts.map(|host: u32| {
                                SocketAddr::from((Ipv4Addr::from(0x0a01_0000 + host), 80))
                            });
                            answer.addresses.extend(all);
                        }
                        _ => answer.addresses.push(at(address)),
                    }
                }
                Ok(answer)
            }
        };
        let mut said = self.step(Input::LookedUp {
            pool: "app".into(),
            name: name.into(),
            answer,
        });
        said.extend(self.step(Input::Tick));
        said
    }
}

/// A name, in the words of a transcript.
pub(super) fn name(name: &NameStatus) -> String {
    let age = name.age.map_or("never".into(), |age| format!("{age} ago"));
    let trouble = name.trouble.iter();
    let trouble: String = trouble.map(|why| format!(", {why}")).collect();
    format!(
        "name {} ({}): {} addresses, {age}{trouble}",
        name.name, name.host, name.addresses
    )
}
