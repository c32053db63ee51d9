//! The configuration file: TCP pools, and proxies in front.

use crate::helpers::{SMALL, errors, good, in_pool};
use ebbtide_core::{Cut, Millis, Protocol, SendProxy, TcpSettings};

#[test]
fn a_tcp_pool_is_read() {
    let text = in_pool(
        "protocol = \"tcp\"\ncut = \"reset\"\nsend_proxy = \"v2\"\nnotice = \"telnet\"\n\
         sticky = { by = \"source\", reuse = \"10m\", prefix_v4 = 24, prefix_v6 = 56 }\n\
         timeouts = { keepalive = \"30s\", tunnel = \"8h\" }",
    );
    let pool = good(&text).config.pools[0].clone();
    assert_eq!(pool.protocol, Protocol::Tcp);
    assert_eq!(
        pool.tcp,
        TcpSettings {
            keepalive: Millis::from_secs(30),
            cut: Cut::Reset,
            send_proxy: SendProxy::V2,
            telnet: true,
        }
    );
    assert_eq!((pool.sticky.prefix_v4, pool.sticky.prefix_v6), (24, 56));
    let defaults = good(&in_pool("protocol = \"tcp\""));
    assert_eq!(defaults.config.pools[0].tcp, TcpSettings::defaults());
}

#[test]
fn what_is_of_the_other_protocol_is_refused() {
    let tcp = errors(&in_pool(
        "protocol = \"tcp\"\nsticky = { cookie = \"a\", by = \"cookie\" }\nprefix = \"/x\"\n\
         timeouts = { head = \"1s\" }\nbalance = \"door-only\"",
    ));
    for name in [
        "pools.app.sticky.cookie: not in tcp pools",
        "pools.app.sticky.by: not in tcp pools",
        "pools.app.prefix: not in tcp pools",
        "pools.app.timeouts.head: not in tcp pools",
        "pools.app.balance: not in tcp pools",
    ] {
        assert!(tcp.contains(name), "{name} in {tcp}");
    }
    let http = errors(&in_pool(
        "cut = \"reset\"\nsticky = { by = \"source\", prefix_v4 = 24 }\nnotice = \"telnet\"\n\
         health = { path = \"/\", send = \"x\" }",
    ));
    for name in [
        "pools.app.cut: not in http pools",
        "pools.app.sticky.by: not in http pools",
        "pools.app.sticky.prefix_v4: not in http pools",
        "pools.app.notice.form: not in http pools",
        "pools.app.health.send: this check asks for a page",
    ] {
        assert!(http.contains(name), "{name} in {http}");
    }
}

#[test]
fn proxies_in_front_are_addresses_or_networks() {
    let with = |networks: &str| {
        SMALL.replace(
            "pool = \"app\"",
            &format!("pool = \"app\"\nproxy_from = {networks}"),
        )
    };
    let read = good(&with(r#"["10.0.0.5", "2001:db8::/32"]"#));
    let shown: Vec<_> = read.config.listeners[0]
        .proxy_from
        .iter()
        .map(|n| n.to_string())
        .collect();
    assert_eq!(shown, ["10.0.0.5", "2001:db8::/32"]);
    let wrong = errors(&with(r#"["10.0.0.5/33"]"#));
    assert!(
        wrong.contains("`10.0.0.5/33` is neither an address nor a network"),
        "{wrong}"
    );
    let wrong = errors(&with("\"10.0.0.5\""));
    assert!(wrong.contains("expected a list of addresses"), "{wrong}");
}
