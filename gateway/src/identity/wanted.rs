//! What an identity door asks its keeper for and is given, in the factory's own types.

use selvedge_domain::ServerName;

use crate::model::wanted::{ModelAsk, ModelDone, Told, ToolAsk};
use crate::protocol::Lease;
use crate::tokens::TokenCall;
use crate::tools::wanted::{NotTakenOn, ServerAsk, ServerDone};

/// What a workload wants.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Wanted {
    /// An X.509-SVID for this public key: an uncompressed point on P-256. The private key never leaves the run.
    X509 {
        /// The point.
        key: Vec<u8>,
    },
    /// A JWT-SVID.
    Jwt {
        /// Who will accept it.
        audience: String,
    },
    /// What everyone may know: the keys to verify others with.
    Bundles,
    /// Whether a token is good.
    Valid {
        /// For whom.
        audience: String,
        /// The token.
        token: Lease,
    },
    /// An answer of the token endpoint.
    Token {
        /// What is asked of it.
        call: TokenCall,
        /// The form, as it was sent; tokens are in it.
        form: Lease,
    },
    /// To reach more.
    Access {
        /// What was sent: JSON, in plain characters.
        asked: String,
    },
    /// To have a model answer.
    Model(ModelAsk),
    /// To say what an answer came to, before the next is asked for.
    ModelDone(ModelDone),
    /// To let the agent have a tool call.
    Tool(ToolAsk),
    /// What was decided on a tool call that waits for a person, or answered to a question. The answer it came in has been read to its end.
    Held {
        /// The call of the model, or of the server, that it came with.
        serial: u64,
        /// Which of that answer's, counted from 0.
        index: u64,
    },
    /// Nobody waits any more for what came with this call.
    Unheld {
        /// The call of the model, or of the server.
        serial: u64,
    },
    /// To have it noted what an agent's hooks tell.
    Told(Told),
    /// An agent that rehearses sent back what it should.
    Rehearsed,
    /// To ask a tool server something.
    Server(ServerAsk),
    /// To say what its answer came to, before the agent has it.
    ServerDone(ServerDone),
    /// To know which tools of a server an agent is shown.
    Shown {
        /// Which server.
        server: ServerName,
    },
    /// To have words of the agent's kept for whoever reviews its work.
    Words {
        /// The words.
        words: String,
        /// Whether they say what is proposed, in place of what was said before.
        is_proposal: bool,
    },
    /// To have people answer a question.
    Question {
        /// The call of the factory's tool that it came with.
        serial: u64,
        /// The question.
        question: String,
    },
    /// To have a person know of a tool that was not taken on.
    NotTakenOn(NotTakenOn),
}

/// What the keeper gives.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Given {
    /// A certificate for the key that was sent.
    X509 {
        /// Who holds it.
        spiffe_id: String,
        /// The certificate, in DER.
        certificate: Vec<u8>,
        /// How long it lives from now on.
        life_seconds: u64,
    },
    /// A token.
    Jwt {
        /// Who holds it.
        spiffe_id: String,
        /// The token.
        token: Lease,
    },
    /// The keys to verify others with.
    Bundles(Bundles),
    /// The token is good and says this.
    Valid(Claims),
    /// What the token endpoint says, for the client as it is.
    Token {
        /// The HTTP status.
        status: u16,
        /// JSON, or nothing; a token may be in it.
        body: Lease,
    },
    /// What came of asking for more, for the client as it is.
    Access {
        /// The HTTP status.
        status: u16,
        /// JSON.
        body: String,
    },
    /// It may be; or it is noted.
    Allowed,
    /// A person has to answer first, and may do so while the turn is held.
    Held,
    /// What the agent is told of what it asked people.
    Told {
        /// In words, some of them a person's.
        text: String,
    },
    /// The agent is shown these tools, if they are as they were taken on.
    Shown {
        /// Their names.
        tools: Vec<String>,
    },
    /// The token is not good.
    Invalid {
        /// Why, without any of it.
        because: String,
    },
    /// It is refused; both texts are shown to the agent.
    Denied {
        /// A stable code.
        code: String,
        /// What the agent can do instead.
        next_step: String,
    },
}

/// The keys of the trust domain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bundles {
    /// Its name.
    pub trust_domain: String,
    /// Certificates of its authorities, in DER.
    pub x509: Vec<Vec<u8>>,
    /// Keys of its tokens, as a JWKS document.
    pub jwks: String,
}

/// What a valid token says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claims {
    /// Who issued it.
    pub issuer: String,
    /// Who holds it.
    pub subject: String,
    /// Who it is for.
    pub audience: String,
    /// Since when, in seconds.
    pub issued: u64,
    /// Until when, in seconds.
    pub expires: u64,
    /// Its own name.
    pub id: String,
}
