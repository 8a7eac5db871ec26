"""The ways to send one request, all behind `port.Sender` and all passing tests/wire; chosen by `choose`."""
