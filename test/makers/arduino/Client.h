#pragma once
class Client {};
