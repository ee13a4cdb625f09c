//! The proxy that doors and couriers leave through, as it is configured and with the password that is stored for it.

use std::sync::Arc;

use selvedge_credentials::ProxyPassword;
use selvedge_gateway::{ProxyLogin, UpstreamProxy};

use super::Works;
use crate::config::Proxy;

/// How to leave.
pub(super) struct WayOut {
    pub(super) proxy: Option<Proxy>,
    pub(super) password: Arc<ProxyPassword>,
}

impl WayOut {
    /// The proxy to leave through, if there is one. Without the password it wants, nothing leaves at all.
    pub(super) fn upstream(&self) -> Result<Option<UpstreamProxy>, String> {
        let Some(Proxy { host, port, user }) = &self.proxy else { return Ok(None) };
        let login = match user {
            Some(user) => Some(self.login(user)?),
            None => None,
        };
        Ok(Some(UpstreamProxy { host: host.clone(), port: *port, login }))
    }

    fn login(&self, user: &str) -> Result<ProxyLogin, String> {
        let remedy = "store it with `selvedge credentials store --proxy`";
        let stored =
            self.password.get().map_err(|error| format!("the password of the proxy cannot be read: {error}"))?;
        let stored = stored.ok_or_else(|| format!("no password is stored for user `{user}` of the proxy; {remedy}"))?;
        let password = std::str::from_utf8(stored.expose()).ok();
        let login = password.and_then(|password| ProxyLogin::new(user, password));
        login.ok_or_else(|| format!("the password of the proxy cannot be written into a request; {remedy}"))
    }
}

impl Works {
    /// How to leave, by the configuration in force.
    pub(super) fn way_out(&self) -> WayOut {
        WayOut { proxy: self.config().proxy.clone(), password: Arc::clone(&self.lending.proxy) }
    }
}
