//! What an agent's hooks tell, at a path of the model door. They are answered at once, whatever they tell, so that no agent waits for it.

use std::sync::Arc;

use selvedge_domain::Method;

use super::{Broken, Connection, Next};
use crate::http::body::BodyReader;
use crate::http::refusal::Refusal;
use crate::http::request::Exchange;
use crate::identity::wanted::Wanted;
use crate::model::door::ModelDoor;
use crate::model::told::TOLD_BYTES_MAX;

impl Connection {
    /// Hears what a hook tells, and has the keeper note it.
    pub(super) async fn hear_hook(&mut self, door: &ModelDoor, request: &mut Exchange) -> Result<Next, Broken> {
        if request.method != Method::Post {
            return Err(Refusal::NotModel.into());
        }
        let (bytes, _room) = self.read_whole(request, BodyReader::begin(request.framing, TOLD_BYTES_MAX)?).await?;
        let told = door.with_given(|given| given.read(&bytes));
        // No verdict, and nothing to show: to every agent this is a hook that has nothing to say.
        self.client_write(
            b"HTTP/1.1 200 \r\ncontent-type: application/json\r\ncache-control: no-store\r\ncontent-length: 2\r\n\r\n{}",
        )
        .await?;
        if let Some(told) = told {
            let context = Arc::clone(&self.context);
            let _noted = context.link.want(Wanted::Told(told)).await;
        }
        Ok(if request.closes { Next::Close } else { Next::Another })
    }
}
