"""The controllers: each watches the store and writes to it, nothing else; each module cites its source."""
