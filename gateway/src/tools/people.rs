//! Waiting for people on behalf of one call at the tool door: its keeper is asked again and again until somebody has answered, or nobody has
//! in time. Never knows who is asked, or how long.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::time::sleep;

use crate::http::Context;
use crate::identity::wanted::{Given, Wanted};

/// How often the keeper is asked whether there is an answer. Whoever answers sees it go on at once.
const LOOK_EVERY: Duration = Duration::from_millis(250);

/// One call of a client, and whether that still waits.
#[derive(Clone, Copy)]
pub(crate) struct Asker<'a> {
    pub(crate) context: &'a Context,
    /// Names the call between keeper and door.
    pub(crate) serial: u64,
    pub(crate) has_left: &'a AtomicBool,
}

impl Asker<'_> {
    /// What the keeper says, once nobody is waited for any more. None where it does not say, or the client has left.
    pub(crate) async fn want(&self, wanted: Wanted) -> Option<Given> {
        match self.context.link.want(wanted).await {
            Some(Given::Held) => self.wait().await,
            given => given,
        }
    }

    /// The same for what is held already.
    pub(crate) async fn wait(&self) -> Option<Given> {
        let (link, serial) = (&self.context.link, self.serial);
        let mut given = Some(Given::Held);
        while given == Some(Given::Held) && !self.has_left.load(Ordering::Relaxed) {
            sleep(LOOK_EVERY).await;
            given = link.want(Wanted::Held { serial, index: 0 }).await;
        }
        let _noted = link.want(Wanted::Unheld { serial }).await;
        given.filter(|given| *given != Given::Held)
    }
}
