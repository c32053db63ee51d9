//! Addresses that lead back here: a server that is one of our own listeners would be asked for ever, and the
//! admin interface is no server for users.

use ebbtide_core::ListenerConfig;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};

/// Addresses of documents, which no machine has (RFC 5737, RFC 3849).
const NOBODYS: [IpAddr; 2] = [
    IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1)),
    IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1)),
];

/// What of this node is reached by who connects to this address from this machine, in words.
pub fn leads_back(
    address: SocketAddr,
    listeners: &[ListenerConfig],
    admin: SocketAddr,
) -> Option<String> {
    let mut all = listeners.iter();
    let listener = all.find(|listener| leads_to(address, listener.bind));
    let listener = listener.map(|own| format!("listener {} ({})", own.name, own.bind));
    let own = || format!("the admin interface ({admin})");
    listener.or_else(|| leads_to(address, admin).then(own))
}

fn leads_to(address: SocketAddr, bind: SocketAddr) -> bool {
    let (to, at) = (address.ip().to_canonical(), bind.ip().to_canonical());
    // Listeners of IPv6 leave IPv4 alone.
    if address.port() != bind.port() || to.is_ipv4() != at.is_ipv4() {
        return false;
    }
    to == at || to.is_unspecified() || (at.is_unspecified() && is_of_this_machine(to))
}

fn is_of_this_machine(address: IpAddr) -> bool {
    let can_be_bound = |address: IpAddr| UdpSocket::bind((address, 0)).is_ok();
    if address.is_loopback() || !can_be_bound(address) {
        return address.is_loopback();
    }
    // Some machines let their programs bind what they do not have, as they may have it any moment
    // (`net.ipv4.ip_nonlocal_bind`). What they have they reach from there.
    let binds_all = NOBODYS
        .into_iter()
        .any(|other| other.is_ipv4() == address.is_ipv4() && can_be_bound(other));
    !binds_all || is_reached_from_itself(address)
}

/// Asks the routes; nothing is sent.
fn is_reached_from_itself(address: IpAddr) -> bool {
    let any: IpAddr = match address {
        IpAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        IpAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    let from = UdpSocket::bind((any, 0)).and_then(|socket| {
        socket.connect((address, 9))?;
        socket.local_addr()
    });
    from.is_ok_and(|from| from.ip() == address)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn leads(to: &str, at: &str) -> bool {
        leads_to(to.parse().unwrap(), at.parse().unwrap())
    }

    #[test]
    fn who_listens_everywhere_is_reached_by_every_address_of_this_machine_and_no_other() {
        assert!(leads("127.0.0.1:80", "0.0.0.0:80"));
        assert!(leads("127.1.2.3:80", "0.0.0.0:80"));
        assert!(leads("[::1]:80", "[::]:80"));
        assert!(leads("0.0.0.0:80", "127.0.0.1:80"));
        assert!(leads("[::ffff:127.0.0.1]:80", "127.0.0.1:80"));
        assert!(!leads("192.0.2.7:80", "0.0.0.0:80"), "another machine");
        assert!(!leads("127.0.0.1:81", "0.0.0.0:80"), "another port");
        assert!(!leads("127.0.0.2:80", "127.0.0.1:80"), "another address");
        assert!(!leads("127.0.0.1:80", "[::]:80"), "another family");
        assert!(!leads("[::1]:80", "0.0.0.0:80"), "another family");
    }

    #[test]
    fn the_admin_interface_is_no_server() {
        let admin = "127.0.0.1:9900".parse().unwrap();
        let said = leads_back("127.0.0.1:9900".parse().unwrap(), &[], admin);
        assert_eq!(
            said.as_deref(),
            Some("the admin interface (127.0.0.1:9900)")
        );
        assert_eq!(
            leads_back("127.0.0.1:9901".parse().unwrap(), &[], admin),
            None
        );
    }

    #[test]
    fn routes_tell_what_is_reached_from_itself() {
        assert!(is_reached_from_itself(Ipv4Addr::LOCALHOST.into()));
        assert!(!is_reached_from_itself(NOBODYS[0]));
    }
}
