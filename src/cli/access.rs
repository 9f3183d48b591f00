//! Access: where a running cluster is, the secret of its members, and TLS. Verbs that speak to a cluster and `serve` share it.

use std::path::PathBuf;

use clap::Args;
use concord_kv::{ClientConfig, Concord, Config, Error, ErrorKind, Result, Secret, TlsConfig};

/// Every option has its `CONCORD_*` variable; the option wins.
#[derive(Args)]
#[command(next_help_heading = "Cluster")]
pub(super) struct Access {
    /// Members of a running cluster, separated by commas: the verb acts on it, through any of them, and not on --data-dir.
    #[arg(long, short = 'a', env = "CONCORD_ADDRESS", value_name = "HOST:PORT", value_delimiter = ',', global = true)]
    address: Vec<String>,
    /// File with the secret that all members share; nobody but its owner may read it.
    #[arg(long, env = "CONCORD_COOKIE_FILE", value_name = "FILE", global = true)]
    cookie_file: Option<PathBuf>,
    /// The secret itself. Others on this machine see it in the list of processes: prefer --cookie-file.
    #[arg(long, env = "CONCORD_COOKIE", hide_env_values = true, value_name = "SECRET", global = true)]
    cookie: Option<String>,
    /// File with a token (`sk_concord_...`), instead of the secret; nobody but its owner may read it.
    #[arg(long, env = "CONCORD_TOKEN_FILE", value_name = "FILE", global = true)]
    token_file: Option<PathBuf>,
    /// The token itself. Others on this machine see it in the list of processes: prefer --token-file or the variable.
    #[arg(long, env = "CONCORD_TOKEN", hide_env_values = true, value_name = "TOKEN", global = true)]
    token: Option<String>,
    /// Certificate chain of this program (PEM); the three TLS options go together.
    #[arg(long, env = "CONCORD_TLS_CERTIFICATE", value_name = "FILE", global = true)]
    tls_certificate: Option<String>,
    /// Its private key (PEM).
    #[arg(long, env = "CONCORD_TLS_PRIVATE_KEY", value_name = "FILE", global = true)]
    tls_private_key: Option<String>,
    /// Certificates of the authority that signs all members and clients (PEM).
    #[arg(long, env = "CONCORD_TLS_AUTHORITY", value_name = "FILE", global = true)]
    tls_authority: Option<String>,
}

impl Access {
    /// The members of the running cluster that is named, separated by commas.
    pub(super) fn addresses(&self) -> Option<String> {
        let named = self.address.iter().map(|address| address.trim()).filter(|address| !address.is_empty());
        let named: Vec<&str> = named.collect();
        Some(named.join(",")).filter(|addresses| !addresses.is_empty())
    }

    /// Reaches the running cluster; waits so long for a member to answer, or as long as by default. The secret and TLS are
    /// those of the configuration where the command line and the environment name none.
    pub(super) fn connect(&self, patience_ms: Option<u64>, configured: &Config) -> Result<Concord> {
        let token = self.token()?;
        let secret = if token.is_some() { Secret::default() } else { self.secret()? };
        let mut config = ClientConfig::new(&self.addresses().unwrap_or_default(), secret);
        config.token = token.clone();
        config.tls = self.tls()?;
        config.default_read_consistency = configured.default_read_consistency;
        config.compression = configured.compression;
        if let Some(cluster) = &configured.cluster {
            if self.cookie.is_none() && self.cookie_file.is_none() && token.is_none() {
                config.cookie = cluster.cookie.clone();
            }
            config.tls = config.tls.or_else(|| cluster.tls.clone());
        }
        config.connect_timeout_ms = patience_ms.unwrap_or(config.connect_timeout_ms);
        if config.cookie.is_empty() && config.token.is_none() {
            return Err(misuse(
                "say a token (--token-file FILE or CONCORD_TOKEN) or the cluster's secret (--cookie-file FILE or CONCORD_COOKIE)",
            ));
        }
        Concord::connect(config)
    }

    /// The token, if one is given; it goes before the secret.
    fn token(&self) -> Result<Option<Secret>> {
        match self.token_file.as_ref().filter(|path| !path.as_os_str().is_empty()) {
            Some(path) => Secret::from_file(path).map(Some),
            None => Ok(self.token.clone().filter(|token| !token.is_empty()).map(Secret::new)),
        }
    }

    /// The secret, empty when none is given.
    pub(super) fn secret(&self) -> Result<Secret> {
        let given = self.cookie_file.as_ref().filter(|path| !path.as_os_str().is_empty());
        let Some(path) = given else { return Ok(Secret::new(self.cookie.clone().unwrap_or_default())) };
        Secret::from_file(path)
    }

    pub(super) fn tls(&self) -> Result<Option<TlsConfig>> {
        // An empty variable counts as one that is not set.
        let given = |file: &Option<String>| file.as_ref().filter(|file| !file.is_empty()).map(PathBuf::from);
        match (given(&self.tls_certificate), given(&self.tls_private_key), given(&self.tls_authority)) {
            (None, None, None) => Ok(None),
            (Some(certificate), Some(private_key), Some(authority)) => {
                Ok(Some(TlsConfig { certificate, private_key, authority, verify_node_id: false }))
            }
            _ => Err(misuse("TLS needs --tls-certificate, --tls-private-key and --tls-authority together")),
        }
    }
}

/// An error of how the program was called.
pub(super) fn misuse(message: impl Into<String>) -> Error {
    Error::new(ErrorKind::InvalidConfig, message)
}
