//! Connections to addresses of others, with TLS where the address says so.

use super::HttpUrl;
use std::io;
use std::sync::Arc;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::sync::OnceCell;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::ServerName;
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

/// A connection, with or without TLS.
pub(super) trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

/// Connects, and trusts the certificates that this machine trusts; they are read when first needed.
pub(super) struct Connector {
    tls: OnceCell<Arc<ClientConfig>>,
}

impl Connector {
    pub fn new() -> Self {
        Self {
            tls: OnceCell::new(),
        }
    }

    /// Trusts these certificates, and not those of the machine.
    #[cfg(test)]
    pub fn trusting(roots: RootCertStore) -> Self {
        let config = client_config(roots).expect("ring speaks the default versions");
        Self {
            tls: OnceCell::new_with(Some(config)),
        }
    }

    /// Connects; [`io::ErrorKind::InvalidInput`] if that can never be.
    pub async fn connect(&self, url: &HttpUrl) -> io::Result<Box<dyn Stream>> {
        let stream = TcpStream::connect((url.host.as_str(), url.port)).await?;
        if !url.is_tls {
            return Ok(Box::new(stream));
        }
        let server = ServerName::try_from(url.host.clone()).map_err(|_| {
            let text = "its host is no name for a certificate";
            io::Error::new(io::ErrorKind::InvalidInput, text)
        })?;
        let connector = TlsConnector::from(self.tls().await?);
        Ok(Box::new(connector.connect(server, stream).await?))
    }

    async fn tls(&self) -> io::Result<Arc<ClientConfig>> {
        let read = || async {
            let roots = tokio::task::spawn_blocking(machine_roots).await;
            client_config(roots.map_err(io::Error::other)??)
        };
        self.tls.get_or_try_init(read).await.cloned()
    }
}

fn machine_roots() -> io::Result<RootCertStore> {
    let found = rustls_native_certs::load_native_certs();
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(found.certs);
    if roots.is_empty() {
        return Err(io::Error::other(
            "this machine trusts no certificates: install its ca-certificates",
        ));
    }
    Ok(roots)
}

fn client_config(roots: RootCertStore) -> io::Result<Arc<ClientConfig>> {
    let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(io::Error::other)?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(Arc::new(config))
}
