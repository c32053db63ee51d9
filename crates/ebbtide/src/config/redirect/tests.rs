//! What a pool that redirects must say, and may not.

use crate::config::parse;

const POOL: &str = "[listeners.web]\nbind = \"127.0.0.1:8080\"\npool = \"app\"\n[pools.app]\nMODE\n\
                    [pools.app.servers]\nweb1 = { address = \"10.0.0.11:8080\"URL }\n";

fn read(mode: &str, url: &str) -> Result<Option<String>, String> {
    let url = match url {
        "" => String::new(),
        url => format!(", public_url = \"{url}\""),
    };
    let text = POOL.replace("MODE", mode).replace("URL", &url);
    let loaded = parse("ebbtide.toml", text.as_bytes()).map_err(|errors| errors.to_string())?;
    let pool = &loaded.config.pools[0];
    assert_eq!(pool.http.redirect, mode.contains("redirect"));
    Ok(pool.servers[0].public_url.clone())
}

const REDIRECT: &str = "mode = \"redirect\"";

#[test]
fn an_address_is_kept_without_its_last_slash() {
    for (url, kept) in [
        ("https://web1.example.com", "https://web1.example.com"),
        ("http://10.0.0.11:8080/", "http://10.0.0.11:8080"),
        ("https://[2001:db8::1]/app/", "https://[2001:db8::1]/app"),
        ("https://[2001:db8::1]:8443", "https://[2001:db8::1]:8443"),
    ] {
        assert_eq!(read(REDIRECT, url), Ok(Some(kept.to_owned())));
    }
    assert_eq!(read("", ""), Ok(None));
    assert_eq!(read("mode = \"proxy\"", ""), Ok(None));
}

#[test]
fn what_is_no_address_to_lead_to_is_refused_at_its_place() {
    for (url, why) in [
        ("ftp://web1", "does not begin with `http://` or `https://`"),
        (
            "web1.example.com",
            "does not begin with `http://` or `https://`",
        ),
        ("https://web1/?a=b", "has a query or a fragment"),
        ("https://web1/#a", "has a query or a fragment"),
        ("https://ann:secret@web1/", "has a user name"),
        ("https:///path", "has no host"),
        ("https://web1:99999/", "has no host, or no good one"),
        ("https://web 1/", "has no host, or no good one"),
        ("https://we%62/", "neither a name nor an address"),
        ("https://[abc]/", "neither a name nor an address"),
        ("https://web1/a b", "signs that have no place in one"),
        ("https://web1/\\\"", "signs that have no place in one"),
    ] {
        let errors = read(REDIRECT, url).expect_err(url);
        let place = "ebbtide.toml:7:";
        assert!(errors.contains(why) && errors.contains(place), "{errors}");
    }
}

#[test]
fn a_server_that_nobody_could_be_led_to_is_refused_and_one_that_nobody_is() {
    let errors = read(REDIRECT, "").expect_err("no address");
    assert!(errors.contains("needs a `public_url`"), "{errors}");
    let errors = read("", "https://web1").expect_err("no redirects");
    assert!(errors.contains("nobody is led there"), "{errors}");
    let errors = read("mode = \"redirects\"", "https://web1").expect_err("a wrong word");
    assert!(errors.contains("redirect"), "{errors}");
}

#[test]
fn what_means_nothing_where_nothing_is_passed_on_is_refused() {
    for line in [
        "replica = true",
        "logout = [\"/bye\"]",
        "retry_percent = 5",
        "end_grace = \"100ms\"",
        "door = { credentials = \"ask\" }",
        "door = { admin_field = \"X-Admin: 1\" }",
        "notice = { inject = false }",
        "timeouts = { response = \"1s\" }",
        "limits = { connections = 5 }",
    ] {
        let mode = format!("{REDIRECT}\n{line}");
        let errors = read(&mode, "https://web1").expect_err(line);
        assert!(
            errors.contains("not in pools with `mode = \"redirect\"`"),
            "{errors}"
        );
        assert!(errors.contains("ebbtide.toml:6:"), "{errors}");
    }
    let errors = read(
        "protocol = \"tcp\"\nmode = \"redirect\"\nreplica = true",
        "",
    );
    let errors = errors.expect_err("of http pools");
    assert!(
        errors.contains("pools.app.mode: not in tcp pools"),
        "{errors}"
    );
    assert!(
        errors.contains("pools.app.replica: not in tcp pools"),
        "{errors}"
    );
}
