//! The way through a door: past the gate, to the server that it leads to, without a session.

use super::{Attempts, Exchange};
use crate::connection::Next;
use crate::door::page::{Message, of_refusal, of_silence, write_door};
use crate::door::{self, DoorPath, form};
use crate::flight::Phase;
use crate::pages::{self, Format, Page};
use ebbtide_core::{
    Credentials, Door, DoorCredentials, DoorRefusal, DoorTable, PoolConfig, PoolSlot,
};
use ebbtide_protocol::http1::{Framing, cookie};
use std::sync::Arc;

/// The longest form: a password of a reasonable length fits many times.
const FORM_BYTES_MAX: usize = 4096;
/// The longest user name and password, in bytes.
const CREDENTIAL_BYTES_MAX: usize = 256;

/// A request that has come through a door.
pub(super) struct Through {
    pub door: Arc<Door>,
    /// The server's place in the pool.
    pub index: usize,
    pub credentials: Option<Credentials>,
}

impl Through {
    /// What its server is sent beside the request.
    pub fn fields<'a>(&'a self, config: &'a PoolConfig) -> Vec<(&'a str, &'a [u8])> {
        let admin = config.door.admin_field.as_ref();
        let admin = admin.filter(|_| self.door.as_admin);
        let admin = admin.map(|(name, value)| (name.as_str(), value.as_bytes()));
        let credentials = self.credentials.as_ref();
        let authorization = credentials.map(|known| ("Authorization", known.value().as_bytes()));
        admin.into_iter().chain(authorization).collect()
    }
}

impl Exchange<'_> {
    /// Answers what is asked of doors themselves.
    pub(super) async fn answer_at_door(&mut self, path: DoorPath) -> Next {
        self.hides_query = true;
        match path {
            DoorPath::Enter => self.enter_door().await,
            DoorPath::Page => self.door_page().await,
        }
    }

    /// Lets a request through the door whose cookie it shows, or answers it: that door is over, or
    /// its server is gone.
    pub(super) async fn enter_by_door(&mut self) -> Option<Next> {
        match self.found_door() {
            Err(refusal) => Some(self.refuse_at_door(refusal).await),
            Ok(door) => self.go_through(door).await,
        }
    }

    /// The door that the browser shows a cookie of. There may be cookies of other paths or hosts with
    /// that name.
    fn found_door(&self) -> Result<Arc<Door>, DoorRefusal> {
        let (buf, head) = (self.scratch.inbound.held(), &self.scratch.request);
        let (name, pool) = (self.routes.door_cookie.as_bytes(), self.routes.pool.key);
        let find = |shown| self.doors().find(pool, shown, self.client, self.began);
        let mut refusal = DoorRefusal::Unknown;
        for found in cookie(buf, head, name).map(find) {
            match found {
                Ok(door) => return Ok(door),
                Err(why) => refusal = why,
            }
        }
        Err(refusal)
    }

    /// Uses the one-use key of the address.
    async fn enter_door(&mut self) -> Next {
        let (buf, head) = (self.scratch.inbound.held(), &self.scratch.request);
        // Only a browser that goes there uses it up, not one that looks ahead.
        let purpose = pages::field(buf, &head.fields, b"sec-purpose").unwrap_or_default();
        if head.method.of(buf) != b"GET" || purpose.starts_with(b"prefetch") {
            return self.give_page(Page::MethodNotAllowed("GET")).await;
        }
        let target = head.target.of(buf);
        let query = target.splitn(2, |byte| *byte == b'?').nth(1);
        let query = query.unwrap_or_default();
        let key = form::value(query, b"key").unwrap_or_default();
        let to = form::local_path(form::text(query, b"to"));
        let pool = &self.routes.pool;
        let entered = self.doors().enter(pool.key, &key, self.client, self.began);
        let door = match entered {
            Ok(door) => door,
            Err(refusal) => return self.refuse_at_door(refusal).await,
        };
        let to = match pool.config.door.credentials {
            DoorCredentials::Ask => format!("{}/door", pool.config.http.prefix),
            _ => to,
        };
        let cookie = format!(
            "Set-Cookie: {}={}; HttpOnly; SameSite=Lax; Path=/{}\r\n",
            self.routes.door_cookie,
            door.cookie_text(),
            if self.is_secure() { "; Secure" } else { "" }
        );
        self.lead_to(&to, &cookie).await
    }

    /// The holder's own page, and what its forms ask for.
    async fn door_page(&mut self) -> Next {
        let door = match self.found_door() {
            Ok(door) => door,
            Err(refusal) => return self.refuse_at_door(refusal).await,
        };
        let (buf, head) = (self.scratch.inbound.held(), &self.scratch.request);
        let trusted = self.routes.pool.config.http.forwarded_trusted;
        match head.method.of(buf) {
            b"GET" | b"HEAD" => {
                let envelope = self.envelope();
                let seen = (&*door, &*self.routes, self.began);
                let out = &mut self.scratch.to_client.bytes;
                self.report.bytes = write_door(out, seen, envelope) as u64;
                self.report.status = 200;
                self.send_own().await
            }
            b"POST" if door::is_own_form(buf, head, trusted) => self.take_form(door).await,
            b"POST" => {
                self.refuse_form("It came from another page than the door's own.")
                    .await
            }
            _ => {
                self.give_page(Page::MethodNotAllowed("GET, HEAD, POST"))
                    .await
            }
        }
    }

    async fn take_form(&mut self, door: Arc<Door>) -> Next {
        let Some(sent) = self.read_form().await else {
            return self.refuse_form("It is too long, or broke off.").await;
        };
        if !door.is_form(&form::value(&sent, b"form").unwrap_or_default()) {
            return self
                .refuse_form("It came from another page than the door's own.")
                .await;
        }
        let action = form::value(&sent, b"action").unwrap_or_default();
        let (client, now) = (self.client, self.began);
        match action.as_slice() {
            b"leave" => {
                self.doors().leave(&door, client, now);
                let gone = self.cookie_away();
                self.lead_to("/", &gone).await
            }
            b"switch" => {
                let name = form::text(&sent, b"server").unwrap_or_default();
                let servers = self.routes.pool.servers.iter();
                let Some(server) = servers.into_iter().find(|server| *server.name == *name) else {
                    return self
                        .refuse_form("There is no such server in this pool.")
                        .await;
                };
                self.doors().lead(&door, server.key, client, now);
                self.lead_to("/", "").await
            }
            b"credentials" => {
                let user = form::text(&sent, b"user").unwrap_or_default();
                let password = form::text(&sent, b"password").unwrap_or_default();
                let is_plain = |text: &str| {
                    text.len() <= CREDENTIAL_BYTES_MAX && !text.chars().any(char::is_control)
                };
                let asked = self.routes.pool.config.door.credentials == DoorCredentials::Ask;
                if !asked || user.contains(':') || !is_plain(&user) || !is_plain(&password) {
                    let why = "A user name has no colon, and both are at most 256 bytes long.";
                    return self.refuse_form(why).await;
                }
                door.give_credentials(Credentials::basic(&user, &password));
                self.lead_to("/", "").await
            }
            _ => self.refuse_form("It asks for nothing that is known.").await,
        }
    }

    /// Reads a form's body; `None` if that cannot be.
    async fn read_form(&mut self) -> Option<Vec<u8>> {
        let bytes = match self.request.framing {
            Framing::Length(bytes) => usize::try_from(bytes).ok()?,
            _ => return None,
        };
        if bytes > FORM_BYTES_MAX {
            return None;
        }
        let timeout = self.routes.pool.config.http.body_timeout;
        self.connection.watch.set(timeout);
        let bytes_max = self.scratch.inbound.held().len() + bytes;
        while self.scratch.inbound.filled().len() < bytes {
            let read = self.connection.read(&mut self.scratch.inbound, bytes_max);
            match read.await {
                Ok(true) => {}
                Ok(false) | Err(_) => return None,
            }
        }
        let sent = self.scratch.inbound.filled()[..bytes].to_vec();
        self.scratch.inbound.consume(bytes);
        self.body_read = true;
        Some(sent)
    }

    /// Sets the request on its way to the door's server.
    async fn go_through(&mut self, door: Arc<Door>) -> Option<Next> {
        let pool = &self.routes.pool;
        let Some(index) = self.routes.index_of(door.server()) else {
            let message = Message {
                status: 502,
                title: "The server is gone",
                text: "The server that this door led to is no longer in the pool: choose another.",
                fields: String::new(),
                door: Some(format!("{}/door", pool.config.http.prefix)),
            };
            return Some(self.give_message(&message).await);
        };
        let credentials = match &pool.config.door.credentials {
            DoorCredentials::None => None,
            DoorCredentials::Ask => door.credentials(),
            DoorCredentials::Default(credentials) => Some(credentials.clone()),
        };
        let flight = &self.connection.watch.flight;
        flight.enter_alone(Phase::Exchange);
        flight.pass(&door);
        if credentials.is_some() {
            let (buf, head) = (self.scratch.inbound.held(), &mut self.scratch.request);
            door::take_field(buf, head, "Authorization");
        }
        self.through = Some(Through {
            door,
            index,
            credentials,
        });
        None
    }

    /// Answers a failure of the door's server. An exchange that was cut was so because the door ended.
    pub(super) async fn give_page_at_door(&mut self, page: Page, attempts: &Attempts) -> Next {
        let Some(through) = &self.through else {
            return self.give_page(page).await;
        };
        match page {
            Page::SessionOver if !through.door.is_open(self.connection.worker.now().moment) => {
                self.refuse_at_door(DoorRefusal::Over).await
            }
            Page::Unreachable | Page::ServerTimeout if attempts.sent == 0 => {
                let buf = self.scratch.inbound.held();
                let retries = self.scratch.request.method.of(buf) == b"GET";
                let server = &self.routes.pool.servers[through.index];
                let prefix = &self.routes.pool.config.http.prefix;
                let message = of_silence(server, prefix, retries);
                self.give_message(&message).await
            }
            other => self.give_page(other).await,
        }
    }

    /// Says why nobody comes in here, and takes a cookie back that is worth nothing.
    async fn refuse_at_door(&mut self, refusal: DoorRefusal) -> Next {
        self.pool_slot().doors_refused.add(1);
        let mut message = of_refusal(refusal);
        // What is wrong with an address is no fault of the door that this browser may have entered.
        if refusal != DoorRefusal::Used && self.found_door().is_err() {
            message.fields = self.cookie_away();
        }
        self.give_message(&message).await
    }

    async fn refuse_form(&mut self, text: &str) -> Next {
        let message = Message {
            status: 403,
            title: "This form was not taken",
            text,
            fields: String::new(),
            door: Some(format!("{}/door", self.routes.pool.config.http.prefix)),
        };
        self.give_message(&message).await
    }

    /// The field that takes the door cookie from the browser.
    fn cookie_away(&self) -> String {
        let name = &self.routes.door_cookie;
        format!("Set-Cookie: {name}=; Max-Age=0; HttpOnly; SameSite=Lax; Path=/\r\n")
    }

    async fn lead_to(&mut self, path: &str, fields: &str) -> Next {
        let message = Message {
            status: 303,
            title: "See other",
            text: "You are led on.",
            fields: format!("Location: {path}\r\n{fields}"),
            door: None,
        };
        self.give_message(&message).await
    }

    async fn give_message(&mut self, message: &Message<'_>) -> Next {
        let envelope = self.envelope();
        let format = Format::wanted(self.scratch.inbound.held(), &self.scratch.request.fields);
        let out = &mut self.scratch.to_client.bytes;
        self.report.status = message.status;
        self.report.bytes = message.write(out, format, envelope) as u64;
        self.send_own().await
    }

    fn doors(&self) -> &DoorTable {
        &self.view.snapshot.doors
    }

    fn pool_slot(&self) -> &PoolSlot {
        self.connection.pool_slot(&self.routes)
    }
}
