"""Messages to endpoints elsewhere: where they may go, and how they are sent."""
