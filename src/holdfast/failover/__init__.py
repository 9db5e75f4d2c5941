"""What must happen when one host dies: evidence, verdict, proof of death, plan, placement, brake.

Pure: :mod:`.detection` judges signs of life, :mod:`.machine` drives one failover through :mod:`.table`,
:mod:`.placement` chooses destinations, :mod:`.selection` says which VMs take part.
The engine feeds them and stores what they decide.
"""
