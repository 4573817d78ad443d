//! What the loop does for an operator, between two batches.

use super::{assignment::give_up, run::Run};
use crate::decider::Decider;

impl<D: Decider> Run<D> {
    /// What an operator wants to know, or says.
    pub(super) async fn listen(&mut self) -> anyhow::Result<()> {
        if !self.operator.is_asked() {
            return Ok(());
        }
        let (positions, ends) = (self.execute.positions().collect::<Vec<_>>(), self.consumer.last_ends());
        while let Some(loss) = self.operator.listen(&mut self.gather.brake, &positions, &ends) {
            let given_up = self.store.run(async |connection| loss.give_up(connection).await).await?;
            if self.operator.given_up(loss, given_up, &self.metrics) {
                // What is known of the positions is not so any more.
                give_up(&mut self.execute, &mut self.gather);
                self.consumer.reassign();
            }
        }
        Ok(())
    }
}
