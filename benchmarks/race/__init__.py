"""Speed of forecasts and training, beside the limits of the machine and beside neuralforecast."""
