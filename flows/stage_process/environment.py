"""Environment variables for the threads of OpenMP and NumPy. They take effect before those libraries load."""

#: An OpenMP thread that waits by spinning occupies a core that another thread needs. On a busy machine a fit then
#: reaches a tenth of its updates. Read when torch is imported.
PASSIVE_WAIT = ("OMP_WAIT_POLICY", "PASSIVE")
#: No stage multiplies matrices in NumPy, but NumPy starts its threads anyway, for 50 ms of CPU. Read when NumPy is
#: imported.
SINGLE_THREAD_NUMPY = ("OPENBLAS_NUM_THREADS", "1")
