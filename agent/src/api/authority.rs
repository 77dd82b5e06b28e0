//! Certificates for servers that tests talk to.

use std::sync::Arc;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
use rustls::ServerConfig;
use rustls::pki_types::PrivateKeyDer;

/// A cluster's authority.
pub(super) struct Authority {
    issuer: Issuer<'static, KeyPair>,
    pub(super) certificate: Vec<u8>,
}

impl Authority {
    pub(super) fn new() -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, "kubernetes");
        let key = KeyPair::generate().unwrap();
        let certificate = params.self_signed(&key).unwrap().der().to_vec();
        Self { issuer: Issuer::new(params, key), certificate }
    }

    /// Its certificate as a file has it.
    pub(super) fn pem(&self) -> String {
        let text = BASE64_STANDARD.encode(&self.certificate);
        format!("-----BEGIN CERTIFICATE-----\n{text}\n-----END CERTIFICATE-----\n")
    }

    /// A server's certificate for an address, and its key.
    pub(super) fn signed(&self, ip: &str) -> ServerConfig {
        let key = KeyPair::generate().unwrap();
        let certificate =
            CertificateParams::new([ip.to_owned()]).unwrap().signed_by(&key, &self.issuer).unwrap();
        server_config(certificate.der().to_vec(), &key)
    }
}

/// As a kubelet makes it for itself.
pub(crate) fn self_signed(ip: &str) -> ServerConfig {
    let key = KeyPair::generate().unwrap();
    let certificate = CertificateParams::new([ip.to_owned()]).unwrap().self_signed(&key).unwrap();
    server_config(certificate.der().to_vec(), &key)
}

fn server_config(certificate: Vec<u8>, key: &KeyPair) -> ServerConfig {
    let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate.into()], key)
        .unwrap()
}
