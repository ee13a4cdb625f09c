//! Deeds: what was done, in a form that can be remembered and, after a crash, recalled instead of done again.

use crate::orders::{
    GitServed, HttpAnswered, MayBorrow, Merged, Minted, ModelAnswered, Pushed, Ran, Replied, ToolAnswered, ToolPassed,
    Widened,
};
use crate::{CheckReport, ProposalNumber, Task, TriggerId};

/// What an order came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Deed {
    /// A trigger was taken on.
    Admitted(Box<Task>),
    /// A credential was made.
    Minted(Minted),
    /// An agent ran.
    Ran(Box<Ran>),
    /// Checks ran.
    Checked(CheckReport),
    /// A proposal was opened.
    Opened(ProposalNumber),
    /// A proposal was merged.
    Merged(Merged),
    /// A follow-up was queued.
    Enqueued(TriggerId),
    /// An approval was given.
    Approved,
    /// A request was answered.
    Answered(HttpAnswered),
    /// A model answered.
    ModelAnswered(ModelAnswered),
    /// An agent was given a tool call.
    ToolPassed,
    /// A tool server answered, or did not.
    ToolAnswered(ToolAnswered),
    /// A stored key may be lent to the run.
    MayBorrow,
    /// A repository was served.
    GitServed(GitServed),
    /// A branch was moved.
    Pushed(Pushed),
    /// What an attempt may reach was widened.
    Widened,
    /// A person's words wait for the run that asked.
    Replied,
}

/// A deed of one order's own type: goes into the record and comes back.
pub trait Remembered: Sized {
    /// As the record keeps it.
    fn remember(&self) -> Deed;

    /// From the record; none when the record holds a deed of another kind.
    fn recall(deed: Deed) -> Option<Self>;
}

macro_rules! remembered {
    ($($type:ty: |$value:ident| $deed:expr, $pattern:pat => $back:expr;)*) => {$(
        impl Remembered for $type {
            fn remember(&self) -> Deed {
                let $value = self.clone();
                $deed
            }

            fn recall(deed: Deed) -> Option<Self> {
                if let $pattern = deed { Some($back) } else { None }
            }
        }
    )*};
}

remembered! {
    Task: |task| Deed::Admitted(Box::new(task)), Deed::Admitted(task) => *task;
    Minted: |minted| Deed::Minted(minted), Deed::Minted(minted) => minted;
    Ran: |ran| Deed::Ran(Box::new(ran)), Deed::Ran(ran) => *ran;
    CheckReport: |report| Deed::Checked(report), Deed::Checked(report) => report;
    ProposalNumber: |number| Deed::Opened(number), Deed::Opened(number) => number;
    Merged: |merged| Deed::Merged(merged), Deed::Merged(merged) => merged;
    TriggerId: |trigger| Deed::Enqueued(trigger), Deed::Enqueued(trigger) => trigger;
    HttpAnswered: |answered| Deed::Answered(answered), Deed::Answered(answered) => answered;
    ModelAnswered: |answered| Deed::ModelAnswered(answered), Deed::ModelAnswered(answered) => answered;
    ToolAnswered: |answered| Deed::ToolAnswered(answered), Deed::ToolAnswered(answered) => answered;
    ToolPassed: |_deed| Deed::ToolPassed, Deed::ToolPassed => Self;
    GitServed: |served| Deed::GitServed(served), Deed::GitServed(served) => served;
    Pushed: |pushed| Deed::Pushed(pushed), Deed::Pushed(pushed) => pushed;
    MayBorrow: |_deed| Deed::MayBorrow, Deed::MayBorrow => Self;
    Widened: |_deed| Deed::Widened, Deed::Widened => Self;
    Replied: |_deed| Deed::Replied, Deed::Replied => Self;
}

impl Remembered for () {
    fn remember(&self) -> Deed {
        Deed::Approved
    }

    fn recall(deed: Deed) -> Option<Self> {
        (deed == Deed::Approved).then_some(())
    }
}
