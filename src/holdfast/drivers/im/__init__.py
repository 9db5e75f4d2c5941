"""The controller's side of monitoring: beacons over the network, heartbeats on the shared datastore."""
