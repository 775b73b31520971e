"""From a change to a committed version: the one path that everything takes, in zone workers and in the front."""
