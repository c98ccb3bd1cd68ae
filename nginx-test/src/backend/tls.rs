//! TLS servers of every kind, and the certificates for them.

use std::io::{self, Read, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, KeyPair};
use rustls::crypto::ring::default_provider;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{
    HandshakeKind, RootCertStore, ServerConfig, ServerConnection, SupportedProtocolVersion,
};
use time::{Duration, OffsetDateTime};

use crate::stream::Stream;

/// A server's TLS configuration.
pub type Config = ServerConfig;

/// What to give to `Leaf::ciphers`.
pub use rustls::CipherSuite;
/// The versions to give to `Leaf::versions`.
pub use rustls::version::{TLS12, TLS13};

/// A certificate authority of one test.
pub struct Authority {
    certificate: rcgen::Certificate,
    key: KeyPair,
}

/// A certificate with its key.
pub struct Leaf {
    certificate: rcgen::Certificate,
    key: KeyPair,
    client_ca: Option<CertificateDer<'static>>,
    versions: Vec<&'static SupportedProtocolVersion>,
    ciphers: Vec<CipherSuite>,
}

impl Default for Authority {
    fn default() -> Self {
        Self::new()
    }
}

impl Authority {
    /// A new authority that nobody trusts yet.
    pub fn new() -> Self {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let name = format!("authority {}", NEXT.fetch_add(1, Ordering::Relaxed));
        params.distinguished_name.push(DnType::CommonName, name);
        Self { certificate: params.self_signed(&key).unwrap(), key }
    }

    /// For `proxy_ssl_trusted_certificate`.
    pub fn pem(&self) -> String {
        self.certificate.pem()
    }

    /// A valid certificate for a name.
    pub fn issue(&self, name: &str) -> Leaf {
        self.issue_between(name, -1, 1)
    }

    /// A certificate that ended yesterday.
    pub fn issue_expired(&self, name: &str) -> Leaf {
        self.issue_between(name, -2, -1)
    }

    /// A certificate that begins tomorrow.
    pub fn issue_too_early(&self, name: &str) -> Leaf {
        self.issue_between(name, 1, 2)
    }

    /// Valid from and to that many days from now.
    pub fn issue_between(&self, name: &str, from: i64, to: i64) -> Leaf {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(vec![name.to_owned()]).unwrap();
        params.distinguished_name.push(DnType::CommonName, name);
        params.not_before = OffsetDateTime::now_utc() + Duration::days(from);
        params.not_after = OffsetDateTime::now_utc() + Duration::days(to);
        let certificate = params.signed_by(&key, &self.certificate, &self.key).unwrap();
        Leaf { certificate, key, client_ca: None, versions: Vec::new(), ciphers: Vec::new() }
    }
}

impl Leaf {
    /// The certificate, for `ssl_certificate` and `proxy_ssl_certificate`.
    pub fn pem(&self) -> String {
        self.certificate.pem()
    }

    /// The key, for `ssl_certificate_key` and `proxy_ssl_certificate_key`.
    pub fn key_pem(&self) -> String {
        self.key.serialize_pem()
    }

    /// Insists on a client certificate of this authority.
    pub fn demand_client_certificate(mut self, authority: &Authority) -> Self {
        self.client_ca = Some(authority.certificate.der().clone());
        self
    }

    /// Speaks only these versions.
    pub fn versions(mut self, versions: &[&'static SupportedProtocolVersion]) -> Self {
        self.versions = versions.to_vec();
        self
    }

    /// Speaks only these cipher suites.
    pub fn ciphers(mut self, ciphers: &[CipherSuite]) -> Self {
        self.ciphers = ciphers.to_vec();
        self
    }

    /// A server with this certificate.
    pub fn server(&self) -> Config {
        let mut provider = default_provider();
        if !self.ciphers.is_empty() {
            provider.cipher_suites.retain(|suite| self.ciphers.contains(&suite.suite()));
        }
        let provider = Arc::new(provider);
        let versions =
            if self.versions.is_empty() { vec![&TLS12, &TLS13] } else { self.versions.clone() };
        let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_protocol_versions(&versions)
            .expect("TLS versions");
        let builder = match &self.client_ca {
            None => builder.with_no_client_auth(),
            Some(ca) => {
                let mut roots = RootCertStore::empty();
                roots.add(ca.clone()).unwrap();
                let verifier =
                    WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
                builder.with_client_cert_verifier(verifier.build().unwrap())
            }
        };
        let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(self.key.serialize_der()));
        builder.with_single_cert(vec![self.certificate.der().clone()], key).unwrap()
    }
}

/// Only the server's first flight.
pub(crate) fn answer_hello(config: &Arc<Config>, mut stream: &Stream) -> io::Result<()> {
    let mut connection = ServerConnection::new(Arc::clone(config)).map_err(io::Error::other)?;
    while !connection.wants_write() {
        if connection.read_tls(&mut stream)? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        connection.process_new_packets().map_err(io::Error::other)?;
    }
    while connection.wants_write() {
        connection.write_tls(&mut stream)?;
    }
    Ok(())
}

/// The server's side of an established connection.
pub(crate) struct TlsStream {
    connection: ServerConnection,
    stream: Arc<Stream>,
}

impl TlsStream {
    /// Does the handshake up to the last flight of this side, which `flush` sends. On failure the
    /// alert, if any, has been sent.
    pub(crate) fn accept(config: &Arc<Config>, stream: Arc<Stream>) -> io::Result<Self> {
        let connection = ServerConnection::new(Arc::clone(config)).map_err(io::Error::other)?;
        let mut tls = Self { connection, stream };
        while tls.connection.is_handshaking() {
            tls.progress().inspect_err(|_| {
                let _ = tls.connection.write_tls(&mut &*tls.stream);
                // Without this, unread bytes would turn the close into RST and lose the alert.
                let _ = tls.stream.shutdown(std::net::Shutdown::Write);
                tls.stream.wait_for_hangup();
            })?;
        }
        Ok(tls)
    }

    fn progress(&mut self) -> io::Result<()> {
        if self.connection.wants_write() {
            self.connection.write_tls(&mut &*self.stream)?;
        } else if self.connection.read_tls(&mut &*self.stream)? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        } else {
            self.connection.process_new_packets().map_err(io::Error::other)?;
        }
        Ok(())
    }

    /// Whether the client came with a session that this server knew.
    pub(crate) fn is_resumed(&self) -> bool {
        self.connection.handshake_kind() == Some(HandshakeKind::Resumed)
    }

    pub(crate) fn stream(&self) -> &Stream {
        &self.stream
    }

    pub(crate) fn close_notify(&mut self) {
        self.connection.send_close_notify();
        let _ = self.connection.complete_io(&mut &*self.stream);
    }
}

impl Read for TlsStream {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        rustls::Stream::new(&mut self.connection, &mut &*self.stream).read(buf)
    }
}

impl Write for TlsStream {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        rustls::Stream::new(&mut self.connection, &mut &*self.stream).write(buf)
    }

    fn flush(&mut self) -> io::Result<()> {
        rustls::Stream::new(&mut self.connection, &mut &*self.stream).flush()
    }
}
