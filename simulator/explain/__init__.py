"""Why a run takes as long as it does: what it is sensitive to, and what two machines differ by."""
